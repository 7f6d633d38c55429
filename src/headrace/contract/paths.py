"""The one reading of paths and URIs that clients send: percent-encoding removed, `..` found. No I/O.

Whatever decides on a path of a client decides on this reading, so that no layer of encoding means one thing
to a check and another to the code behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

# Text that still changes in the tenth decoding is refused, as by MLflow. It also bounds the work: a text
# of n characters may have n/2 layers.
MAX_DECODINGS: Final = 10


class TooManyLayers(ValueError):
    """The text is percent-encoded more often than any client would."""


def decoded(text: str, layer: Callable[[str], str] = unquote) -> str:
    """The text without its layers of percent-encoding; `layer` removes one. Raises TooManyLayers."""
    for _ in range(MAX_DECODINGS):
        plain = layer(text)
        if plain == text:
            return text
        text = plain
    raise TooManyLayers(f"more than {MAX_DECODINGS - 1} layers of percent-encoding")


def climbs(path: str) -> bool:
    """Whether a decoded path has a `..` segment."""
    return ".." in path and ".." in path.split("/")
