"""Ending and renaming runs, as an operation of the group commit."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from headrace.api.tracking.runs import sql
from headrace.api.tracking.runs.batch import RUN_NAME, not_active
from headrace.api.tracking.runs.batch_sql import UPSERT_TAGS
from headrace.api.tracking.runs.types import RunStatus
from headrace.commit.kinds import Kind
from headrace.contract import errors
from headrace.contract.errors import ApiError
from headrace.contract.texts import refuse_nul
from headrace.db.base import Row, Tx


class Change:
    """New values of a run's columns; None leaves one as it is."""

    __slots__ = ("end_time", "name", "run_id", "status")

    def __init__(
        self, run_id: str, status: RunStatus | None, end_time: int | None, name: str | None
    ) -> None:
        refuse_nul(name, "run_name")  # the Python API comes here without a decoder
        self.run_id = run_id
        self.status = status.value if status else None
        self.end_time = end_time
        self.name = name or None


async def apply(tx: Tx, changes: Sequence[Change]) -> list[ApiError | Row]:
    """Change the runs that are active; the answer is the run's row after it. See `Kind.apply`."""
    ids = tx.array(sorted({change.run_id for change in changes}))
    # In the order of ids, which the UPDATE does not keep: two processes never wait for each other in a circle.
    before = {row[0]: row for row in await tx.fetch(sql.LOCKED_RUNS, ids)}
    answers: dict[int, Any] = {}
    merged: dict[str, list[Any]] = {}
    for n, change in enumerate(changes):
        row = before.get(change.run_id)
        if row is None:
            answers[n] = errors.run_not_found(change.run_id)
        elif row[8] != "active":
            answers[n] = not_active(change.run_id, row[8])
        else:
            # PostgreSQL updates a row once per statement: later changes of a run go on top.
            new = merged.setdefault(change.run_id, [None, None, None])
            for place, value in enumerate((change.status, change.end_time, change.name)):
                if value is not None:
                    new[place] = value
    if merged:
        await tx.executemany(sql.UPDATE_RUN, sorted((run, *new) for run, new in merged.items()))
        names = sorted((RUN_NAME, run, new[2]) for run, new in merged.items() if new[2])
        if names:
            await tx.executemany(UPSERT_TAGS, names)
        after = {row[0]: row for row in await tx.fetch(sql.RUNS, ids)}
        for n, change in enumerate(changes):
            answers.setdefault(n, after.get(change.run_id))
    return [answers[n] for n in range(len(changes))]


KIND: Final = Kind("update_run", 2, apply, subject=attrgetter("run_id"))
