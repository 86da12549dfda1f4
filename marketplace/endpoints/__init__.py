"""The marketplace's part of the endpoint table."""

from marketplace.endpoints import analytics, cases, discovery, payouts, purchasing, transfers, trust, tunes

ENDPOINTS = [
    *analytics.ENDPOINTS,
    *cases.ENDPOINTS,
    *discovery.ENDPOINTS,
    *payouts.ENDPOINTS,
    *purchasing.ENDPOINTS,
    *transfers.ENDPOINTS,
    *trust.ENDPOINTS,
    *tunes.ENDPOINTS,
]
