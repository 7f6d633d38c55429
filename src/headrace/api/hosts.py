"""Addresses of hosts that a client names and the server connects to: by default none in a private network."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from headrace.contract.errors import ApiError, invalid

RESOLVE_TIMEOUT_S: Final = 5.0
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


def resolved(host: str, port: int | None, name: str, *, private: bool) -> list[str]:
    """The addresses of a host, which may take long to find. Raises INVALID_PARAMETER_VALUE.

    `name` is that of the URL for messages. With `private`, every address is allowed, and none need
    be found.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, OverflowError) as error:
        if private:  # as MLflow, which resolves hosts only to refuse private ones
            return []
        raise invalid(f"Cannot resolve {name} hostname {host!r}: {error}") from error
    addresses = [ipaddress.ip_address(info[4][0]) for info in found]
    for address in addresses if not private else ():
        if not is_public(address):
            raise invalid(
                f"{name} must not resolve to a non-public IP address. "
                f"{host!r} resolves to {address}."
            )
    return [str(address) for address in addresses]


def too_slow(name: str, host: str | None) -> ApiError:
    """INVALID_PARAMETER_VALUE for a host whose addresses were not found in time."""
    return invalid(
        f"Timed out resolving {name} hostname {host!r} after {RESOLVE_TIMEOUT_S:g} seconds"
    )


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
