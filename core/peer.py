"""The address a request really came from, in one spelling."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings

_CUSTOMER_PREFIX = 64  # what one IPv6 customer gets at least: all of it is one peer to a limit


def peer_address(request) -> str:
    """The client's address by trusted hops only: with N proxies of ours, the N-th entry from the right of X-Forwarded-For.

    With no trusted proxy the header is ignored, whatever it says; `Forwarded`, `X-Real-IP` and their like always are.
    """
    hops = settings.TRUSTED_PROXY_HOPS
    if hops:
        forwarded = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
        if len(forwarded) >= hops:
            return _one_spelling(forwarded[-hops])
    return _one_spelling(request.META.get("REMOTE_ADDR", "")) or "unknown"


def limit_key(peer: str) -> str:
    """What limits count a peer by: the IPv4 address, or the /64 of an IPv6 one, whose holder has 2^64 of them."""
    address = _parse(peer)
    return str(ip_network((address, _CUSTOMER_PREFIX), strict=False)) if isinstance(address, IPv6Address) else peer


def storable_address(peer: str) -> str | None:
    """The address as Postgres holds it, or None for what is none: a proxy may hand on a name, a zone or rubbish."""
    address = _parse(peer)
    return None if address is None else str(address)


def _one_spelling(text: str) -> str:
    """The address without port and zone, an IPv4 address never dressed as IPv6: else each port or spelling is a peer of its own."""
    address = _parse(text)
    return text if address is None else str(address)


@lru_cache(maxsize=4096)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
