"""The marketplace's part of the endpoint table."""

from marketplace.endpoints import purchasing, transfers, trust, tunes

ENDPOINTS = [*purchasing.ENDPOINTS, *transfers.ENDPOINTS, *trust.ENDPOINTS, *tunes.ENDPOINTS]
