"""URLs whose answers nobody on the network can change. No I/O."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_secure(url: str) -> bool:
    """Whether a URL uses HTTPS, or HTTP on this machine."""
    try:
        parts = urlsplit(url)
        if not parts.hostname or not url.isascii() or not url.isprintable():
            return False
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
