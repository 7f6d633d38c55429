"""SQL for the assistant."""

from __future__ import annotations

from headrace.db.sql import Sql

ANY_GATEWAY_ENDPOINT = Sql(
    "SELECT 1 FROM endpoints WHERE {in workspace}endpoint_id IS NOT NULL LIMIT 1"
)
