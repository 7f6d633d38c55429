"""Host headers and lists of allowed hosts. Compares names as names, and addresses as addresses.

`10.*` means addresses that begin with 10. Anyone may register the name `10.evil.com` and point it
to any address, so it never matches a glob of digits.
"""

from __future__ import annotations

import re
from fnmatch import translate
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = IPv4Address | IPv6Address

# The defaults, with any port: MLflow's loopback hosts, RFC 1918 and RFC 4193.
LOOPBACK_NAME: Final = "localhost"
LOOPBACK: Final[frozenset[Address]] = frozenset(
    {IPv4Address("127.0.0.1"), IPv4Address("0.0.0.0"), IPv6Address("::1")}
)
PRIVATE_V4: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
PRIVATE_V6: Final = IPv6Network("fc00::/7")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\x00-\x20\[\]:/?#@\\]+)(:[0-9]{1,5})?")
# A glob without a letter, optionally with a scheme and a port.
_OF_ADDRESSES: Final = re.compile(r"(?:[a-z*]+://)?[0-9.*?]*[0-9][0-9.*?]*(?::[0-9*?]*)?")


class Host(NamedTuple):
    """A host in a header. `text` is canonical: lower case, no final dot, short IPv6."""

    text: str
    name: str
    address: Address | None


def parse(host: str) -> Host | None:
    """Parse a Host header, or the part of an origin after `//`; None when it is not a host."""
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return None
    name, port = match[1].removesuffix("."), match[2] or ""
    address = _address(name)
    if address is None:
        return None if name.startswith("[") else Host(name + port, name, None)
    name = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    return Host(name + port, name, _unmapped(address))


def _address(name: str) -> Address | None:
    try:
        return IPv6Address(name[1:-1]) if name.startswith("[") else IPv4Address(name)
    except AddressValueError:
        return None


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_allowed_by_default(host: Host) -> bool:
    """Whether a host is this machine or an address of a private network."""
    address = host.address
    if address is None:
        return host.name == LOOPBACK_NAME
    if address in LOOPBACK:
        return True
    if isinstance(address, IPv4Address):
        return any(address in network for network in PRIVATE_V4)
    return address in PRIVATE_V6


class Patterns:
    """The entries of a setting: globs, which contain a `*`, and exact values."""

    def __init__(self, entries: Iterable[str]) -> None:
        plain = [_canonical(entry) for entry in entries]
        of_addresses = [entry for entry in plain if _OF_ADDRESSES.fullmatch(entry)]
        self._any = _expression([entry for entry in plain if entry not in of_addresses])
        self._of_addresses = _expression(of_addresses)

    def match(self, text: str, host: Host) -> bool:
        """Whether an entry matches `text`, which contains `host`."""
        if self._any.match(text) is not None:
            return True
        return host.address is not None and self._of_addresses.match(text) is not None


def _canonical(entry: str) -> str:
    host = parse(entry)
    return host.text if host is not None else entry.lower()


def _expression(entries: list[str]) -> re.Pattern[str]:
    parts = [_glob(entry) if "*" in entry else re.escape(entry) + r"\Z" for entry in entries]
    return re.compile("|".join(parts) or r"(?!)")


def _glob(entry: str) -> str:
    # In a host a bracket belongs to an IPv6 address; fnmatch would read a class of characters.
    return translate(entry.replace("[", "[[]") if ":" in entry and "[" in entry else entry)
