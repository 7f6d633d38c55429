"""Which addresses a webhook may have: by default https, and no host of a private network.

Whoever may create a webhook chooses what the server connects to. So the addresses of its host are looked at
when it is made, and again when it is delivered to: the connection goes to one of those that were looked at.
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
# Networks with NAT64 reach every host that has IPv4 only under this prefix (RFC 6052): what counts is the
# address inside. Prefixes that a network chose itself (64:ff9b:1::/48) do not say where they lead.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# Python's own lists differ between its releases.
_NOT_PUBLIC_V6: Final = (
    ipaddress.IPv6Network("2001::/23"),  # protocols, Teredo among them
    ipaddress.IPv6Network("3fff::/20"),  # documentation
)
_NOT_PUBLIC_V4: Final = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocols; Oracle's metadata service
    ipaddress.IPv4Network("224.0.0.0/4"),  # multicast, which Python counts as global
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays of 6to4
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's metadata service
)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Rules(NamedTuple):
    """What the operator allows."""

    schemes: tuple[str, ...]
    private: bool


class Target(NamedTuple):
    """A URL, taken apart, and addresses of its host that may be connected to."""

    parts: SplitResult
    host: str
    port: int
    addresses: list[str]


def target(url: str, rules: Rules) -> Target:
    """Where a URL leads. Asks the resolver, so it may take long; raises INVALID_PARAMETER_VALUE."""
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
        if rules.private:  # as MLflow, which looks only at what it must refuse
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
    """Whether an address is one of the open internet, also when it only wraps one of IPv4."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _NOT_PUBLIC_V4)
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(inner)
    # All that is global lies in here; Python counts as global most of what it does not know.
    return (
        address in _GLOBAL_UNICAST
        and address.is_global
        and not any(address in network for network in _NOT_PUBLIC_V6)
    )
