"""SQL for the assistant."""

from __future__ import annotations

from headrace.db.base import Sql

ANY_GATEWAY_ENDPOINT = Sql("SELECT 1 FROM endpoints LIMIT 1")
