"""Deletes traces in portions, so that no transaction holds many locks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from headrace.api.results import NotNative
from headrace.api.traces.spans import archived
from headrace.api.traces.traces import write_sql as sql
from headrace.contract.errors import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Database, Tx
    from headrace.storage.locations import Locations

log = logging.getLogger(__name__)
FIRST: Final = (-(2**63), "")  # before every time and id
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


async def by_ids(
    db: Database, artifacts: Locations | None, experiment_id: int, ids: Sequence[str]
) -> int:
    """Delete those of the traces that the experiment has; return their number.

    Without `artifacts`, an archived trace raises NotNative.
    """
    distinct = sorted(set(ids))
    count = 0
    for start in range(0, len(distinct), PORTION):
        count += await _portion(db, artifacts, experiment_id, distinct[start : start + PORTION])
    return count


async def by_time(
    db: Database, artifacts: Locations | None, experiment_id: int, max_ms: int, most: int | None
) -> int:
    """Delete the oldest traces up to a time, at most `most`; return their number. See `by_ids`."""
    count = tried = 0
    after = FIRST
    while most is None or tried < most:
        portion = PORTION if most is None else min(PORTION, most - tried)
        found = await db.read(sql.oldest, experiment_id, max_ms, after, portion)
        if not found:
            break
        after = found[-1]
        tried += len(found)
        count += await _portion(db, artifacts, experiment_id, [id_ for _, id_ in found])
    return count


async def _portion(
    db: Database, artifacts: Locations | None, experiment_id: int, ids: Sequence[str]
) -> int:
    count, archives = await db.write(_delete, experiment_id, ids, artifacts is not None)
    if not archives:
        return count
    assert artifacts is not None, "else it raises"
    removed = [id_ for id_, uri in archives.items() if await _is_removed(artifacts, id_, uri)]
    return count + await db.write(_delete_all, experiment_id, removed)


async def _is_removed(artifacts: Locations, trace_id: str, uri: str | None) -> bool:
    """Delete the spans of an archived trace. If that fails, the trace remains, as with stock."""
    if uri is None:
        return True
    try:
        await archived.remove(artifacts, uri)
    except ApiError as error:
        log.error("the archived spans of trace %s cannot be deleted: %s", trace_id, error.message)
        return False
    return True


async def _delete(
    tx: Tx, experiment_id: int, ids: Sequence[str], with_files: bool
) -> tuple[int, dict[str, str | None]]:
    """Delete the traces with all that belongs to them, except their links, as stock.

    Returns their number, and the archived ones, which remain: their files are deleted first. Raises
    NotNative if there are any, and not `with_files`.
    """
    found = await sql.lock_for_delete(tx, experiment_id, ids)
    archives = await sql.archived(tx, found) if found else {}
    if archives and not with_files:
        raise NotNative
    rest = [id_ for id_ in found if id_ not in archives]
    return await sql.delete(tx, rest) if rest else 0, archives


async def _delete_all(tx: Tx, experiment_id: int, ids: Sequence[str]) -> int:
    """Delete traces whose files are deleted."""
    found = await sql.lock_for_delete(tx, experiment_id, ids)
    return await sql.delete(tx, found) if found else 0
