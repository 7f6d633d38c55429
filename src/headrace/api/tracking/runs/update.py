"""Updates that end or rename runs, as an operation of the group commit."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from headrace.api.tracking.runs import sql
from headrace.api.tracking.runs.batch import RUN_NAME, not_active
from headrace.api.tracking.runs.batch_sql import UPSERT_TAGS
from headrace.api.tracking.runs.types import RunStatus
from headrace.commit.kinds import Kind
from headrace.contract import errors
from headrace.contract.errors import ApiError
from headrace.contract.texts import refuse_unstorable
from headrace.db.base import Row, Tx


class Columns(NamedTuple):
    """New values of a run's columns; None leaves a column unchanged."""

    status: str | None = None
    end_time: int | None = None
    name: str | None = None

    def on_top_of(self, earlier: Columns) -> Columns:
        """Return the combination of both changes; these values override the earlier ones."""
        given = {name: value for name, value in self._asdict().items() if value is not None}
        return earlier._replace(**given)


class Change:
    """A change of one run's columns."""

    __slots__ = ("columns", "run_id")

    def __init__(
        self, run_id: str, status: RunStatus | None, end_time: int | None, name: str | None
    ) -> None:
        refuse_unstorable(name, "run_name")  # the Python API has no decoder that checks this
        self.run_id = run_id
        self.columns = Columns(status.value if status else None, end_time, name or None)


async def apply(tx: Tx, changes: Sequence[Change]) -> list[ApiError | Row]:
    """Change the active runs; the answer is the run's row after the change. See `Kind.apply`."""
    ids = {change.run_id for change in changes}
    # Lock the rows in the order of ids, which the UPDATE does not keep, so that processes cannot
    # deadlock.
    before = await sql.locked(tx, ids)
    answers: dict[int, Any] = {}
    merged: dict[str, Columns] = {}
    for n, change in enumerate(changes):
        run = before.get(change.run_id)
        if run is None:
            answers[n] = errors.run_not_found(change.run_id)
        elif run.lifecycle_stage != "active":
            answers[n] = not_active(change.run_id, run.lifecycle_stage)
        else:
            # PostgreSQL updates a row only once per statement, so later changes of a run are merged
            # into earlier ones.
            earlier = merged.get(change.run_id, Columns())
            merged[change.run_id] = change.columns.on_top_of(earlier)
    if merged:
        await tx.executemany(sql.UPDATE_RUN, sorted((run, *new) for run, new in merged.items()))
        names = sorted((RUN_NAME, run, new.name) for run, new in merged.items() if new.name)
        if names:
            await tx.executemany(UPSERT_TAGS, names)
        after = {row[0]: row for row in await tx.fetch(sql.RUNS, tx.array(sorted(ids)))}
        for n, change in enumerate(changes):
            answers.setdefault(n, after.get(change.run_id))
    return [answers[n] for n in range(len(changes))]


KIND: Final = Kind("update_run", 2, apply, subject=attrgetter("run_id"))
