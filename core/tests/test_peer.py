"""Whose request it is: by trusted hops only, in one spelling, and one key for what one customer holds."""

import pytest
from django.test import RequestFactory

from core.peer import limit_key, peer_address, storable_address


def request(remote="198.51.100.1", **headers):
    return RequestFactory().get("/", REMOTE_ADDR=remote, **headers)


@pytest.mark.parametrize(
    ("hops", "forwarded", "peer"),
    [
        (0, "203.0.113.1", "198.51.100.1"),
        (1, "203.0.113.1", "203.0.113.1"),
        (1, "203.0.113.99, 203.0.113.1", "203.0.113.1"),  # what stands left of ours the client wrote
        (2, "203.0.113.99, 203.0.113.1, 10.0.0.1", "203.0.113.1"),
        (2, "203.0.113.1", "198.51.100.1"),  # went round a proxy: then nothing in the header is ours
        (1, " , ,", "198.51.100.1"),
        (1, "", "198.51.100.1"),
    ],
)
def test_by_trusted_hops_only(settings, hops, forwarded, peer):
    settings.TRUSTED_PROXY_HOPS = hops

    assert peer_address(request(HTTP_X_FORWARDED_FOR=forwarded)) == peer


@pytest.mark.parametrize("header", ["FORWARDED", "X_REAL_IP", "TRUE_CLIENT_IP", "CF_CONNECTING_IP", "X_CLIENT_IP", "CLIENT_IP", "VIA"])
@pytest.mark.parametrize("hops", [0, 1])
def test_other_headers_are_never_read(settings, header, hops):
    settings.TRUSTED_PROXY_HOPS = hops

    assert peer_address(request(**{f"HTTP_{header}": "203.0.113.1"})) == "198.51.100.1"


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("203.0.113.1:4711", "203.0.113.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:0DB8:0:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("rubbish", "rubbish"),
        ("[", "["),
    ],
)
def test_one_spelling(settings, text, spelling):
    settings.TRUSTED_PROXY_HOPS = 1

    assert peer_address(request(HTTP_X_FORWARDED_FOR=text)) == spelling


def test_a_socket_without_an_address_is_one_peer():
    assert peer_address(request(remote="")) == "unknown"


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("rubbish", "rubbish"),
        ("unknown", "unknown"),
    ],
)
def test_a_limit_counts_a_customer_as_one(peer, key):
    assert limit_key(peer) == key


@pytest.mark.parametrize(
    ("peer", "stored"), [("203.0.113.1", "203.0.113.1"), ("2001:db8::1", "2001:db8::1"), ("rubbish", None), ("", None)]
)
def test_only_addresses_are_stored(peer, stored):
    assert storable_address(peer) == stored
