"""`headrace doctor`: looks a database over and says what is wrong, and the command that mends it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from headrace.contract.clock import now_ms
from headrace.db.schema import heads
from headrace.db.schema.facts import MLFLOW_TABLES
from headrace.db.sqlite import journal
from headrace.db.upkeep import health
from headrace.db.upkeep.access import opened
from headrace.db.uri import parse

if TYPE_CHECKING:
    from headrace.db.base import Database
    from headrace.db.schema.facts import Facts
    from headrace.db.uri import Target

CLOCK_TOLERANCE_MS: Final = 2_000
LARGE_LOG_BYTES: Final = 256 << 20  # of a write-ahead log: something keeps it from being emptied
SHOWN_TABLES: Final = 8
RUNS_AT_A_TIME: Final = 20


@dataclass
class Diagnosis:
    """`found`: (what, how it is). `wrong`: (what is wrong, the command that mends it or empty)."""

    uri: str
    found: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"{name:<26}{text}" for name, text in [("database", self.uri), *self.found]]
        for problem, command in self.wrong:
            lines.append(f"WRONG: {problem}")
            lines += [f"  mend it with: {command}"] if command else []
        return lines if self.wrong else [*lines, "Nothing is wrong."]


async def examine(uri: str) -> Diagnosis:
    """Look a database over; changes nothing. Raises UriError, UnusableDatabase."""
    target = parse(uri)
    found = Diagnosis(target.shown)
    async with opened(uri) as db:
        _head(db, found)
        await _indexes(db, target, found)
        await _sizes(db, found)
        await _latest(db, found)
        await _clock(db, found)
        if target.path:  # what only a file has
            await _journal(db, target, found)
    return found


async def recompute_latest(uri: str) -> list[str]:
    """Make every latest metric what its history says; lines for a person. Servers may go on."""
    changed, after = 0, ""
    async with opened(uri) as db:
        while ids := await db.read(health.run_ids, after, RUNS_AT_A_TIME):
            changed += await db.write(health.recompute_latest, ids)
            after = ids[-1]
    return [f"{changed} latest metrics were not what their history ends with; they are now."]


def _head(db: Database, found: Diagnosis) -> None:
    facts = cast("Facts", db.schema)
    release = facts.release or "of an unknown release"
    age = "" if facts.head == heads.CURRENT else ", served as it is"
    found.found.append(("schema", f"{facts.head} ({release}){age}"))
    found.wrong += [(f"no {text}", f"headrace db upgrade {found.uri}") for text in facts.lost]
    found.wrong += [(warning, "") for warning in facts.warnings]


async def _indexes(db: Database, target: Target, found: Diagnosis) -> None:
    expected = health.expected_indexes(target.dialect)
    there = await db.read(health.indexes)
    known = {name: row for name, row in expected.items() if db.schema.has(row[0])}
    missing = sorted(name for name in known if name not in there)
    found.found.append(("indexes", f"{len(known) - len(missing)} of {len(known)}"))
    if db.schema.head != heads.CURRENT:
        return  # older releases have fewer, and `db upgrade` makes the others
    for name in missing:
        table, statement = known[name]
        client = f"sqlite3 '{target.path}'" if target.path else f"psql '{target.shown}' -c"
        found.wrong.append(
            (f"index {name} of {table} is missing: reads are slow", f'{client} "{statement}"')
        )


async def _sizes(db: Database, found: Diagnosis) -> None:
    total = await db.read(health.number, health.FILE_BYTES)
    found.found.append(("size", f"{total:,} bytes"))
    tables = [table for table in MLFLOW_TABLES if db.schema.has(table)]
    for table, rows, size in (await db.read(health.sizes, tables))[:SHOWN_TABLES]:
        shown = f"about {rows:,} rows" + (f", {size:,} bytes" if size else "")
        found.found.append((f"  {table}", shown))


async def _latest(db: Database, found: Diagnosis) -> None:
    looked_at, wrong = await db.read(health.stale_latest, random.random())
    text = f"{looked_at} compared with their history, {len(wrong)} differ"
    found.found.append(("latest metrics", text))
    if wrong:
        run_id, key = wrong[0]
        found.wrong.append(
            (
                f"the last value of {len(wrong)} metrics is not what their history ends with (run "
                f"{run_id}, key {key!r} is one)",
                f"headrace db recompute-latest {found.uri}",
            )
        )


async def _clock(db: Database, found: Diagnosis) -> None:
    theirs_ms = await db.read(health.number, health.CLOCK_MS)
    if theirs_ms:
        off_ms = theirs_ms - now_ms()
        found.found.append(
            ("clock", f"the database's is {off_ms / 1000:+.1f} s from this machine's")
        )
        if abs(off_ms) > CLOCK_TOLERANCE_MS:
            found.wrong.append(
                ("the clocks of database and server differ", "timedatectl set-ntp true")
            )
    newest_ms = await db.read(health.number, health.NEWEST_EXPERIMENT_MS)
    ahead_s = (newest_ms - now_ms()) / 1000
    if ahead_s * 1000 > CLOCK_TOLERANCE_MS:
        found.wrong.append(
            (
                f"an experiment was changed {ahead_s:.0f} s in the future: a server's clock is, or "
                "was, ahead",
                "timedatectl set-ntp true",
            )
        )


async def _journal(db: Database, target: Target, found: Diagnosis) -> None:
    mode = await db.read(health.journal_mode)
    log = Path(target.path + "-wal")
    log_bytes = log.stat().st_size if log.exists() else 0
    found.found.append(("journal mode", f"{mode}, {log_bytes:,} bytes in the log"))
    network = journal.network_file_system(target.path)
    if network and mode == "wal":
        found.wrong.append(
            (
                f"the file is in WAL mode on a network file system ({network}), which can damage it",
                f"headrace db release {found.uri}",
            )
        )
    if log_bytes > LARGE_LOG_BYTES:
        found.wrong.append(
            (
                "the log is large: a reader that never ends keeps it from being emptied. Stop what "
                "reads the file (fuser names it)",
                f"headrace db release {found.uri}",
            )
        )
