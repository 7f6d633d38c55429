"""Checks the URLs of webhooks: by default only https, and no host in a private network.

A user who may create a webhook chooses a host that the server connects to. The addresses of the
host are therefore checked when the webhook is created and again before each delivery, which
connects only to addresses that passed the check.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from headrace.api.registry.webhooks.threads import Threads
from headrace.contract.errors import invalid

RESOLVE_TIMEOUT_S: Final = 5.0
PORTS: Final = {"http": 80, "https": 443}
# Networks with NAT64 reach IPv4-only hosts under this prefix (RFC 6052), so the embedded address is
# checked. The destination behind prefixes that a network chose itself (64:ff9b:1::/48) is unknown.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# Python's lists differ between its releases.
_NOT_PUBLIC_V6: Final = (
    ipaddress.IPv6Network("2001::/23"),  # protocols, including Teredo
    ipaddress.IPv6Network("3fff::/20"),  # documentation
)
_NOT_PUBLIC_V4: Final = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocols; Oracle's metadata service
    ipaddress.IPv4Network("224.0.0.0/4"),  # multicast, which Python counts as global
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's metadata service
)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Rules(NamedTuple):
    """The operator's settings: the allowed schemes, and whether private addresses are allowed."""

    schemes: tuple[str, ...]
    private: bool


class Target(NamedTuple):
    """A parsed URL, and the addresses of its host, which passed the check."""

    parts: SplitResult
    host: str
    port: int
    addresses: list[str]


def target(url: str, rules: Rules) -> Target:
    """Parse a URL and resolve its host, which may take long. Raises INVALID_PARAMETER_VALUE."""
    if not url.strip():
        raise invalid(f"Webhook URL cannot be empty or just whitespace: {url!r}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise invalid(f"Invalid webhook URL {url!r}: {error!r}") from error
    if parts.scheme not in rules.schemes:
        raise invalid(
            f"Invalid webhook URL scheme: {parts.scheme!r}. Allowed schemes are: "
            f"{', '.join(rules.schemes)}."
        )
    if not host:
        raise invalid(f"Webhook URL must include a hostname: {url!r}")
    port = port or PORTS.get(parts.scheme, 443)
    return Target(parts, host, port, _resolved(host, port, rules))


async def check(url: str, rules: Rules, threads: Threads) -> None:
    """Raise INVALID_PARAMETER_VALUE unless a webhook may have this URL."""
    try:
        await asyncio.wait_for(threads.run(target, url, rules), RESOLVE_TIMEOUT_S)
    except TimeoutError as error:
        raise invalid(
            f"Timed out resolving Webhook URL hostname {urlsplit(url).hostname!r} after "
            f"{RESOLVE_TIMEOUT_S:g} seconds"
        ) from error


def _resolved(host: str, port: int, rules: Rules) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, OverflowError) as error:
        if rules.private:  # as MLflow, which resolves hosts only to refuse private ones
            return []
        raise invalid(f"Cannot resolve Webhook URL hostname {host!r}: {error}") from error
    addresses = [ipaddress.ip_address(info[4][0]) for info in found]
    for address in addresses if not rules.private else ():
        if not is_public(address):
            raise invalid(
                "Webhook URL must not resolve to a non-public IP address. "
                f"{host!r} resolves to {address}."
            )
    return [str(address) for address in addresses]


def is_public(address: Address) -> bool:
    """Whether an address is public. An IPv6 address that embeds an IPv4 one is judged by that."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _NOT_PUBLIC_V4)
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(inner)
    # Every global address is in `_GLOBAL_UNICAST`; `is_global` is also true for most unknown ones.
    return (
        address in _GLOBAL_UNICAST
        and address.is_global
        and not any(address in network for network in _NOT_PUBLIC_V6)
    )
