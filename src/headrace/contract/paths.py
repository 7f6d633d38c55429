"""Decoding of paths and URIs from clients, and detection of `..`. No I/O.

Every check of such a path uses these functions, so a check and the code behind it cannot decode it
differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

# As in MLflow, text that still changes in the tenth decoding is rejected. This also bounds the work,
# because a text of n characters may have n/2 layers.
MAX_DECODINGS: Final = 10


class TooManyLayers(ValueError):
    """The text has too many layers of percent-encoding."""


def decoded(text: str, layer: Callable[[str], str] = unquote) -> str:
    """Remove all layers of percent-encoding; `layer` removes one. Raises TooManyLayers."""
    for _ in range(MAX_DECODINGS):
        plain = layer(text)
        if plain == text:
            return text
        text = plain
    raise TooManyLayers(f"more than {MAX_DECODINGS - 1} layers of percent-encoding")


def climbs(path: str) -> bool:
    """Whether a decoded path contains a `..` segment."""
    return ".." in path and ".." in path.split("/")
