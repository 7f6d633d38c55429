"""The address of a client is that of the peer, unless a trusted proxy sends the request."""

from __future__ import annotations

import pytest

from headrace.auth.authority import Repeated
from headrace.auth.origins import Origins, parse_networks
from headrace.http.messages import Request

NETWORKS = parse_networks("10.0.0.0/8, 192.168.1.7,fd00::/8")


def address(client: str, forwarded: str | None) -> str:
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    return Origins(NETWORKS).address(Request("GET", "/", "", headers, client=client))


@pytest.mark.parametrize(
    ("client", "forwarded", "expected"),
    [
        ("10.1.2.3", "203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the first one may be invented
        ("10.1.2.3", "203.0.113.9, 10.4.4.4,fd00::1", "203.0.113.9"),
        ("10.1.2.3", "10.4.4.4", "10.1.2.3"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.9, unknown", "10.1.2.3"),
        ("10.1.2.3", Repeated("203.0.113.9"), "10.1.2.3"),
        ("::ffff:10.1.2.3", "2001:db8::1", "2001:db8::1"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("192.168.1.8", "198.51.100.1", "192.168.1.8"),
        ("", "198.51.100.1", ""),
    ],
)
def test_only_trusted_proxies_name_the_client(
    client: str, forwarded: str | None, expected: str
) -> None:
    assert address(client, forwarded) == expected


def test_without_networks_nobody_is_trusted() -> None:
    request = Request("GET", "/", "", {"x-forwarded-for": "1.2.3.4"}, client="127.0.0.1")
    assert Origins().address(request) == "127.0.0.1"


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "localhost", "10.0.0.1,,"])
def test_malformed_networks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|host bits|netmask"):
        parse_networks(text)
