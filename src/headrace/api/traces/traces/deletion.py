"""Deletes traces in portions, so that no transaction holds many locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.api.results import NotNative
from headrace.api.traces.traces import write_sql as sql
from headrace.contract.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Database, Tx

PORTION: Final = 200  # traces of one transaction


def check(max_timestamp: int | None, max_traces: int | None, ids: Sequence[str]) -> None:
    """Raise INVALID_PARAMETER_VALUE unless exactly one of time and ids is given."""
    if max_timestamp is None and not ids:
        raise invalid("Either `max_timestamp_millis` or `trace_ids` must be specified.")
    if max_timestamp is not None and ids:
        raise invalid("Only one of `max_timestamp_millis` and `trace_ids` can be specified.")
    if ids and max_traces is not None:
        raise invalid("`max_traces` can't be specified if `trace_ids` is specified.")
    if max_traces is not None and max_traces <= 0:
        raise invalid(f"`max_traces` must be a positive integer, received {max_traces}.")


async def by_ids(db: Database, experiment_id: int, ids: Sequence[str]) -> int:
    """Delete those of the traces that the experiment has; return their number."""
    distinct = sorted(set(ids))
    count = 0
    for start in range(0, len(distinct), PORTION):
        count += await db.write(_delete, experiment_id, distinct[start : start + PORTION])
    return count


async def by_time(db: Database, experiment_id: int, max_ms: int, most: int | None) -> int:
    """Delete the oldest traces up to a time, at most `most`; return their number."""
    count = 0
    while most is None or count < most:
        portion = PORTION if most is None else min(PORTION, most - count)
        ids = await db.read(sql.oldest, experiment_id, max_ms, portion)
        if not ids:
            break
        deleted = await db.write(_delete, experiment_id, ids)
        count += deleted
        if not deleted and len(ids) < portion:
            break
    return count


async def _delete(tx: Tx, experiment_id: int, ids: Sequence[str]) -> int:
    """Delete the traces with all that belongs to them, except their links, as stock.

    Archived traces are left to stock MLflow, which deletes their files.
    """
    found = await sql.lock_for_delete(tx, experiment_id, ids)
    if found and await sql.any_archived(tx, found):
        raise NotNative
    return await sql.delete(tx, found) if found else 0
