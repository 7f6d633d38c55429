"""`headrace db repair-steps`, and the count that `headrace doctor` reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.db.upkeep import health, steps
from headrace.db.upkeep.access import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.db.base import Database

RUNS_AT_A_TIME: Final = 20


async def wrong(db: Database) -> int:
    """Return the number of points whose step or time is no integer; 0 on PostgreSQL."""
    found = 0
    for table in steps.tables(db.dialect):
        last = await db.read(steps.last_row, table)
        for after in range(0, last, steps.PART):
            found += await db.read(steps.count, table, after)
    return found


async def repair(uri: str, progress: Callable[[int, int, str], None]) -> list[str]:
    """Replace steps that are no integers; return a report. Servers may keep running.

    `progress(done, total, text)` is called after each part.
    """
    repaired = 0
    async with opened(uri) as db:
        for table in steps.tables(db.dialect):
            last = await db.read(steps.last_row, table)
            for after in range(0, last, steps.PART):
                count, runs = await db.write(steps.repair, table, after)
                repaired += count
                # The latest points were chosen by comparing with these steps.
                ids = sorted(runs)
                for n in range(0, len(ids), RUNS_AT_A_TIME):
                    await db.write(health.recompute_latest, ids[n : n + RUNS_AT_A_TIME])
                progress(min(after + steps.PART, last), last, table.name)
    if not repaired:
        return ["No steps had to be corrected."]
    were = "step was no integer and was" if repaired == 1 else "steps were no integers and were"
    return [f"{repaired:,} {were} corrected."]
