"""Numbers that JSON cannot spell, as protobuf's JSON names them. MLflow stores some that headrace refuses."""

from __future__ import annotations

import math
from typing import Final

# A double of an answer: a number, or the name of NaN or of an infinity.
Double = float | str
NAMES: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def double(value: float) -> Double:
    """A number as an answer shows it."""
    return value if math.isfinite(value) else NAMES[str(value)]
