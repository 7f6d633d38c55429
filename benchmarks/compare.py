"""Compare two revisions of headrace, in a minute.

Both servers run at the same time, on separate databases in the same PostgreSQL (or on files). Only
one is under load at a time, and they alternate: A B, B A, A B, …
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import figures
from benchmarks.cases import Case, seeds_of
from benchmarks.charts import short
from benchmarks.machine import revision
from benchmarks.measure import wait_idle
from benchmarks.peers import ROOT
from benchmarks.progress import Progress
from benchmarks.report import table
from benchmarks.runner import CASE_OVERHEAD_S, Options, database_server, measure, workplace
from benchmarks.servers import RunningServer, headrace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.databases import Databases
    from benchmarks.results import Sample


@contextlib.contextmanager
def source_of(rev: str) -> Iterator[Path]:
    """Check out a revision into a temporary folder, and remove it afterwards."""
    git = ["git", "-C", os.fspath(ROOT)]
    with tempfile.TemporaryDirectory(prefix="headrace-base-") as folder:
        tree = Path(folder) / "tree"
        add = [*git, "worktree", "add", "--quiet", "--detach", os.fspath(tree), rev]
        subprocess.run(add, check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", os.fspath(tree)], check=True)


def compare(base: str, options: Options) -> str:
    """Return a Markdown table that compares this tree with `base`, case by case."""
    with contextlib.ExitStack() as stack:
        tree = stack.enter_context(source_of(base))
        work = stack.enter_context(workplace(options))
        kind = options.databases[0]
        databases = stack.enter_context(database_server(kind, work, options.postgres_uri))
        running = []
        for source, name in ((tree, "base"), (ROOT, "this")):
            uri = _database(source, name, databases, options, work)
            server = stack.enter_context(RunningServer(headrace(source, name), uri, work))
            wait_idle(server.pid)
            running.append((server, uri))
        samples = _rounds(running, databases, options)
        names = (f"{base} ({revision(tree)})", f"this ({revision()})")
    return _table(samples, names)


def _database(source: Path, name: str, databases: Databases, options: Options, work: Path) -> str:
    uri = databases.create(name)
    with RunningServer(headrace(source, name), uri, work) as running:
        wait_idle(running.pid)
    databases.seed(uri, seeds_of(options.cases), fasttrackml=False)
    return uri


def _rounds(
    running: list[tuple[RunningServer, str]], databases: Databases, options: Options
) -> dict[str, tuple[list[Sample], list[Sample]]]:
    each = options.seconds + options.warmup_s + CASE_OVERHEAD_S
    progress = Progress(each * 2 * options.rounds * len(options.cases))
    found: dict[str, tuple[list[Sample], list[Sample]]] = {}
    for case in options.cases:
        samples: tuple[list[Sample], list[Sample]] = ([], [])
        for number, turn in enumerate(figures.pairs(options.rounds), start=1):
            for side in turn:
                server, uri = running[side]
                progress.step(f"{case.name} {number}/{options.rounds} {server.server.name}", each)
                samples[side].append(_one(case, server, databases, uri, options))
        found[case.name] = samples
    progress.finish()
    return found


def _one(
    case: Case, server: RunningServer, databases: Databases, uri: str, options: Options
) -> Sample:
    _, sample = measure(case, server, databases, uri, options)
    if sample.error:
        sys.stderr.write(f"\n{server.server.name}: {case.name}: {sample.error}\n")
    return sample


_ROWS = (
    ("requests/s", "requests_per_s"),
    ("p50, ms", "p50_ms"),
    ("p99, ms", "p99_ms"),
    ("server CPU s / 1,000", "server_cpu_s"),
    ("database CPU s / 1,000", "database_cpu_s"),
)


def _table(samples: dict[str, tuple[list[Sample], list[Sample]]], names: tuple[str, str]) -> str:
    rows = []
    for case, sides in samples.items():
        for title, field in _ROWS:
            values = [
                [v for s in side if not s.error and (v := getattr(s, field)) is not None]
                for side in sides
            ]
            middles = [figures.median(side) for side in values]
            apart = [figures.spread(side) for side in values]
            cells = [
                "failed" if m is None else f"{short(m)} ±{(a or 0) / 2:.0%}"
                for m, a in zip(middles, apart, strict=True)
            ]
            times = figures.ratio(middles[1], middles[0])
            change = "-" if times is None else f"{times - 1:+.1%}"
            rows.append([f"{case}: {title}", *cells, change])
    return table(["median ± half the spread", *names, "change"], rows)
