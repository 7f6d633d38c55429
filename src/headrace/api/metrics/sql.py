"""SQL for metric histories: whole, by page, of several runs."""

from __future__ import annotations

from headrace.db.base import Row, Sql, Tx

HISTORY = Sql(
    "SELECT value, timestamp, step, is_nan FROM metrics WHERE run_uuid = $1 AND key = $2"
    " ORDER BY timestamp, step, value"
)
HISTORY_PAGE = Sql(
    "SELECT value, timestamp, step, is_nan FROM metrics WHERE run_uuid = $1 AND key = $2"
    " ORDER BY timestamp, step, value LIMIT $3 OFFSET $4"
)
BULK = Sql(
    postgres="SELECT run_uuid, value, timestamp, step, is_nan FROM metrics"
    " WHERE key = $2 AND run_uuid = ANY($1::varchar[])"
    " ORDER BY run_uuid, timestamp, step, value LIMIT $3",
    sqlite="SELECT run_uuid, value, timestamp, step, is_nan FROM metrics"
    " WHERE key = $2 AND run_uuid IN (SELECT value FROM json_each($1))"
    " ORDER BY run_uuid, timestamp, step, value LIMIT $3",
)


async def page(tx: Tx, run_id: str, key: str, limit: int, offset: int) -> list[Row]:
    """Points (value, timestamp, step, is_nan) of one history in order."""
    return await tx.fetch(HISTORY_PAGE, run_id, key, limit, offset)
