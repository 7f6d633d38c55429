"""The header Authorization: its scheme, and the comparison with an expected token. No I/O."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.settings.table import Settings


def split(authorization: str) -> tuple[str, str]:
    """The scheme of a header in lower case, and the rest."""
    scheme, _, rest = authorization.partition(" ")
    return scheme.lower(), rest.strip(" \t")


def scrape_token(settings: Settings) -> str:
    """The bearer token for /metrics; empty if there is none."""
    return settings.metrics_token or settings.metrics_token_file


def has_token(headers: Mapping[str, str], expected: str) -> bool:
    """Whether a request has this bearer token. An empty one is in no request."""
    scheme, value = split(headers.get("authorization", ""))
    return bool(
        scheme == "bearer" and expected and hmac.compare_digest(value.encode(), expected.encode())
    )
