"""Checks the URLs of webhooks: by default only https, and no host in a private network.

A user who may create a webhook chooses a host that the server connects to. The addresses of the
host are therefore checked when the webhook is created and again before each delivery, which
connects only to addresses that passed the check.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from headrace.api.hosts import RESOLVE_TIMEOUT_S, resolved, too_slow
from headrace.api.threads import Threads
from headrace.contract.errors import invalid

NAME: Final = "Webhook URL"
PORTS: Final = {"http": 80, "https": 443}


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
    return Target(parts, host, port, resolved(host, port, NAME, private=rules.private))


async def check(url: str, rules: Rules, threads: Threads) -> None:
    """Raise INVALID_PARAMETER_VALUE unless a webhook may have this URL."""
    try:
        await asyncio.wait_for(threads.run(target, url, rules), RESOLVE_TIMEOUT_S)
    except TimeoutError as error:
        raise too_slow(NAME, urlsplit(url).hostname) from error
