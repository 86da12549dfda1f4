"""The marketplace's part of the endpoint table."""

from marketplace.endpoints import cases, purchasing, transfers, trust, tunes

ENDPOINTS = [*cases.ENDPOINTS, *purchasing.ENDPOINTS, *transfers.ENDPOINTS, *trust.ENDPOINTS, *tunes.ENDPOINTS]
