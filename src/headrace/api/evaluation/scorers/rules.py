"""The rules of scorers that depend on a request. No I/O."""

from __future__ import annotations

from typing import Any


def names_version(req: Any) -> bool:
    """Whether a request concerns one version of a scorer."""
    return req.version is not None


def names_scorer(req: Any) -> bool:
    """Whether a request concerns a scorer with all its versions."""
    return req.version is None
