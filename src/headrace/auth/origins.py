"""The networks of trusted proxies, and the address that a request comes from."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from headrace.auth.authority import Repeated

if TYPE_CHECKING:
    from headrace.auth.authority import Head
    from headrace.settings.table import Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FORWARDED_FOR: Final = "x-forwarded-for"
MAX_KNOWN: Final = 1024  # cached peers


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks such as `10.0.0.0/8`, or addresses, separated by commas. Raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(","))


class Origins:
    """Knows which peers are trusted proxies, whose headers count."""

    def __init__(self, networks: tuple[Network, ...] = ()) -> None:
        self._networks = networks
        self.trusts = lru_cache(MAX_KNOWN)(self._trusts)

    def _trusts(self, address: str) -> bool:
        """Whether the address is that of a trusted proxy."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if parsed.version == 6 and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)

    def address(self, head: Head) -> str:
        """The address of the client: the peer, or, if a trusted proxy sends the request, the last

        address in X-Forwarded-For that is not one of a trusted proxy.
        """
        forwarded = head.headers.get(FORWARDED_FOR)
        if not self._networks or forwarded is None or not self.trusts(head.client):
            return head.client
        if isinstance(forwarded, Repeated):
            return head.client  # its last value is not known
        for part in reversed(forwarded.split(",")):
            address = part.strip()
            if not _is_address(address):
                break
            if not self.trusts(address):
                return address
        return head.client


def origins_of(settings: Settings) -> Origins:
    """The trusted proxies of a server."""
    networks = settings.auth_proxy_networks
    return Origins(() if networks is None else parse_networks(networks))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
