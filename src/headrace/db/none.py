"""Replaces the database in a server without one (`--artifacts-only`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.contract.errors import ApiError, ErrorCode
from headrace.db.base import Load, RowCount

if TYPE_CHECKING:
    from collections.abc import Mapping


class NoDatabase:
    """A `Database` that rejects every call. The routes of such a server do not call it."""

    def __init__(self) -> None:
        self.row_count = RowCount()
        self.replicas = ()

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: object) -> None:
            raise ApiError(
                ErrorCode.NOT_IMPLEMENTED, "This server runs with --artifacts-only: no database."
            )

        return refuse

    async def ping(self) -> None:
        """Always available."""

    def load(self) -> Mapping[str, Load]:
        """No connections."""
        return {}

    async def close(self) -> None:
        """Nothing to close."""
