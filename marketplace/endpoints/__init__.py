"""The marketplace's part of the endpoint table."""

from marketplace.endpoints import cases, discovery, payouts, purchasing, transfers, trust, tunes

ENDPOINTS = [
    *cases.ENDPOINTS,
    *discovery.ENDPOINTS,
    *payouts.ENDPOINTS,
    *purchasing.ENDPOINTS,
    *transfers.ENDPOINTS,
    *trust.ENDPOINTS,
    *tunes.ENDPOINTS,
]
