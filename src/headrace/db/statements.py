"""Statements whose text is composed at run time."""

from __future__ import annotations

from functools import lru_cache

from headrace.db.sql import Sql


@lru_cache(maxsize=512)
def statement(text: str) -> Sql:
    """The statement of this text. Recent texts share one object."""
    return Sql(text)
