"""The address a request really came from."""

from ipaddress import ip_address

from django.conf import settings


def peer_address(request) -> str:
    """The client's address by trusted hops only: with N proxies of ours, the N-th entry from the right of X-Forwarded-For.

    With no trusted proxy the header is ignored, whatever it says.
    """
    hops = settings.TRUSTED_PROXY_HOPS
    if hops:
        forwarded = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
        if len(forwarded) >= hops:
            return forwarded[-hops]
    return request.META.get("REMOTE_ADDR", "") or "unknown"


def storable_address(peer: str) -> str | None:
    """The address as Postgres holds it, or None for what is none: a proxy may hand on a name, a zone or rubbish."""
    try:
        return str(ip_address(peer.partition("%")[0]))
    except ValueError:
        return None
