"""`headrace doctor`: find the problems of a database, and the commands that solve them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from headrace.bridge.package import installed, obstacle
from headrace.contract.clock import now_ms
from headrace.db.schema import heads
from headrace.db.schema import indexes as own
from headrace.db.schema.facts import MLFLOW_TABLES
from headrace.db.sqlite import journal
from headrace.db.upkeep import garbage, health
from headrace.db.upkeep.access import opened
from headrace.db.uri import parse
from headrace.plural import counted
from headrace.upkeep import steps

if TYPE_CHECKING:
    from headrace.db.base import Database
    from headrace.db.schema.facts import Facts
    from headrace.db.uri import Target

CLOCK_TOLERANCE_MS: Final = 2_000
# A write-ahead log of this size is not checkpointed any more.
LARGE_LOG_BYTES: Final = 256 << 20
SHOWN_TABLES: Final = 8
RUNS_AT_A_TIME: Final = 20


@dataclass
class Diagnosis:
    """`facts` are pairs of name and value, `problems` pairs of problem and command, which may be empty."""

    uri: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Format the diagnosis for people."""
        lines = [f"{name:<26}{text}" for name, text in [("database", self.uri), *self.facts]]
        for problem, command in self.problems:
            lines.append(f"PROBLEM: {problem}")
            lines += [f"  solve it with: {command}"] if command else []
        return lines if self.problems else [*lines, "No problems found."]


async def examine(uri: str) -> Diagnosis:
    """Examine a database without changing it. Raises UriError, UnusableDatabase."""
    target = parse(uri)
    diagnosis = Diagnosis(target.shown)
    async with opened(uri) as db:
        _head(db, diagnosis)
        await _workspaces(db, diagnosis)
        await _indexes(db, target, diagnosis)
        await _sizes(db, diagnosis)
        await _latest(db, diagnosis)
        await _steps(db, diagnosis)
        await _orphans(db, diagnosis)
        await _clock(db, diagnosis)
        if target.path:  # a SQLite file
            await _journal(db, target, diagnosis)
    return diagnosis


async def recompute_latest(uri: str) -> list[str]:
    """Recompute every latest metric from its history; return a report. Servers may keep running."""
    changed, after = 0, ""
    async with opened(uri) as db:
        while ids := await db.read(health.run_ids, after, RUNS_AT_A_TIME):
            changed += await db.write(health.recompute_latest, ids)
            after = ids[-1]
    were = "was" if changed == 1 else "were"
    return [f"{counted(changed, 'latest metric')} differed from the history and {were} corrected."]


def _head(db: Database, diagnosis: Diagnosis) -> None:
    facts = cast("Facts", db.schema)
    release = facts.release or "of an unknown release"
    age = "" if facts.head == heads.CURRENT else ", which headrace can serve"
    diagnosis.facts.append(("schema", f"{facts.head} ({release}){age}"))
    diagnosis.problems += [
        (f"no {text}", f"headrace db upgrade {diagnosis.uri}") for text in facts.lost
    ]
    diagnosis.problems += [(warning, "") for warning in facts.warnings]
    package = installed()
    reason = obstacle(package, facts.head, uri=diagnosis.uri)
    if package is not None and reason is not None:
        problem = f"the bridged routes are not served, because {reason.reason}"
        diagnosis.problems.append((problem, reason.command))


async def _workspaces(db: Database, diagnosis: Diagnosis) -> None:
    count = await db.read(health.number, health.WORKSPACES) if db.schema.has("workspaces") else 0
    if count > 1:
        diagnosis.facts.append(("workspaces", f"{count}, which need --enable-workspaces"))


async def _indexes(db: Database, target: Target, diagnosis: Diagnosis) -> None:
    expected = health.expected_indexes(target.dialect)
    existing = await db.read(health.indexes)
    known = {name: row for name, row in expected.items() if db.schema.has(row[0])}
    missing = sorted(name for name in known if name not in existing)
    diagnosis.facts.append(("indexes", f"{len(known) - len(missing)} of {len(known)}"))
    ours = [one for one in own.TUNED if one.fits(db.schema, target.dialect)]
    lacks = len(own.missing(db.schema, target.dialect))
    advice = f"; make the others with: headrace db tune {diagnosis.uri}" if lacks else ""
    diagnosis.facts.append(("indexes of headrace", f"{len(ours) - lacks} of {len(ours)}{advice}"))
    if db.schema.head != heads.CURRENT:
        return  # older releases have fewer indexes, and `db upgrade` creates the others
    for name in missing:
        table, statement = known[name]
        client = f"sqlite3 '{target.path}'" if target.path else f"psql '{target.shown}' -c"
        diagnosis.problems.append(
            (f"index {name} of {table} is missing, so reads are slow", f'{client} "{statement}"')
        )


async def _sizes(db: Database, diagnosis: Diagnosis) -> None:
    total = await db.read(health.number, health.FILE_BYTES)
    diagnosis.facts.append(("size", f"{total:,} bytes"))
    tables = [table for table in MLFLOW_TABLES if db.schema.has(table)]
    for table, rows, size in (await db.read(health.sizes, tables))[:SHOWN_TABLES]:
        shown = f"about {rows:,} rows" + (f", {size:,} bytes" if size else "")
        diagnosis.facts.append((f"  {table}", shown))


async def _latest(db: Database, diagnosis: Diagnosis) -> None:
    compared, wrong = await db.read(health.stale_latest, random.random())
    text = f"{compared} compared with their history, {len(wrong)} differ"
    diagnosis.facts.append(("latest metrics", text))
    if wrong:
        run_id, key = wrong[0]
        diagnosis.problems.append(
            (
                f"the latest value of {len(wrong)} metrics differs from their history (for example "
                f"run {run_id}, key {key!r})",
                f"headrace db recompute-latest {diagnosis.uri}",
            )
        )


async def _steps(db: Database, diagnosis: Diagnosis) -> None:
    wrong = await steps.wrong(db)
    if wrong:
        diagnosis.problems.append(
            (
                f"{counted(wrong, 'point has', 'points have')} a step or a time that is no integer, "
                "which charts and searches overlook",
                f"headrace db repair-steps {diagnosis.uri}",
            )
        )


async def _orphans(db: Database, diagnosis: Diagnosis) -> None:
    orphans = await db.read(health.number, garbage.COUNT_ORPHANS)
    if orphans:
        text = f"of {orphans} removed runs or logged models still exist: headrace gc removes them"
        diagnosis.facts.append(("artifacts", text))


async def _clock(db: Database, diagnosis: Diagnosis) -> None:
    theirs_ms = await db.read(health.clock_ms)
    if theirs_ms:
        off_ms = theirs_ms - now_ms()
        diagnosis.facts.append(
            (
                "clock",
                f"the database's clock is {round(off_ms / 1000, 1) + 0.0:+.1f} s from this machine's",
            )
        )
        if abs(off_ms) > CLOCK_TOLERANCE_MS:
            diagnosis.problems.append(
                ("the clocks of database and server differ", "timedatectl set-ntp true")
            )
    newest_ms = await db.read(health.number, health.NEWEST_EXPERIMENT_MS)
    ahead_s = (newest_ms - now_ms()) / 1000
    if ahead_s * 1000 > CLOCK_TOLERANCE_MS:
        diagnosis.problems.append(
            (
                f"an experiment was changed {ahead_s:.0f} s in the future: the clock of a server is or "
                "was ahead",
                "timedatectl set-ntp true",
            )
        )


async def _journal(db: Database, target: Target, diagnosis: Diagnosis) -> None:
    mode = await db.read(health.journal_mode)
    log = Path(target.path + "-wal")
    log_bytes = log.stat().st_size if log.exists() else 0
    diagnosis.facts.append(("journal mode", f"{mode}, {log_bytes:,} bytes in the log"))
    network = journal.network_file_system(target.path)
    if network and mode == "wal":
        diagnosis.problems.append(
            (
                f"the file is in WAL mode on a network file system ({network}), which can damage it",
                f"headrace db release --keep-indexes {diagnosis.uri}",
            )
        )
    if log_bytes > LARGE_LOG_BYTES:
        diagnosis.problems.append(
            (
                "the log is large: a long-running reader prevents its checkpoint. Stop the processes "
                "that read the file (find them with fuser)",
                f"headrace db release --keep-indexes {diagnosis.uri}",
            )
        )
