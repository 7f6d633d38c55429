"""Whether headrace is enabled in this process: `headrace.enable()`, `headrace.disable()`, HEADRACE=1."""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "HEADRACE"
_chosen: bool | None = None


def enabled() -> bool:
    """Whether new stores are headrace's. A call of `set_enabled` takes precedence over the variable."""
    if _chosen is not None:
        return _chosen
    return os.environ.get(VARIABLE, "").strip().lower() in ("1", "true", "yes", "on")


def set_enabled(on: bool) -> None:
    """Choose the stores that are created from now on."""
    global _chosen
    _chosen = on
