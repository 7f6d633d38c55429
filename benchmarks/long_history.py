"""Memory that one answer of get-history uses, for ten thousand to ten million points."""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING, Final

from benchmarks import seeds
from benchmarks.measure import PeakMemory, memory, wait_idle
from benchmarks.report import table
from benchmarks.runner import database_server, workplace
from benchmarks.servers import RunningServer, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.databases import Databases
    from benchmarks.runner import Options

DEFAULT_POINTS: Final = (10_000, 1_000_000, 10_000_000)
CHUNK: Final = 1 << 20
TIMEOUT_S: Final = 1800


def _read(url: str) -> tuple[int, int]:
    """Read an answer without keeping it, and return its bytes and points."""
    size = points = 0
    tail = b""
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        while chunk := answer.read(CHUNK):
            size += len(chunk)
            text = tail + chunk
            points += text.count(b'"timestamp"')
            # One byte shorter than the searched word, so that each word is counted once.
            tail = text[-10:]
    return size, points


def _row(
    server: Server, databases: Databases, points: int, options: Options, tell: Callable[[str], None]
) -> list[str]:
    work = options.work
    assert work is not None
    uri = databases.create("long_history")
    with RunningServer(server, uri, work) as running:
        wait_idle(running.pid)
    tell(f"{server.name}: writes {points:,} points")
    dialect = seeds.Dialect(databases.kind == "postgresql", server.fasttrackml_tables)
    databases.write(uri, seeds.history_statements(dialect, points))
    tell(f"{server.name}: reads {points:,} points")
    with RunningServer(server, uri, work) as running:
        wait_idle(running.pid)
        idle = memory(running.pid).rss_mib
        url = f"{running.uri}/api/2.0/mlflow/metrics/get-history"
        began = time.perf_counter()
        with PeakMemory(running.pid) as used:
            try:
                size, found = _read(f"{url}?run_id={seeds.LONG_RUN}&metric_key=loss")
            except OSError as error:
                return [server.title, f"{points:,}", f"failed: {error}", "-", "-", "-"]
        seconds = time.perf_counter() - began
    databases.drop("long_history")
    right = f"{size / 2**20:,.1f}" if found == points else f"wrong: {found:,} points"
    peak = used.peak.rss_mib
    return [server.title, f"{points:,}", right, f"{seconds:.1f}", f"{idle:.0f}", f"{peak:.0f}"]


def run(options: Options, points: tuple[int, ...], tell: Callable[[str], None]) -> str:
    """Return a Markdown table with a line for each server and length."""
    rows = []
    with workplace(options) as work:
        given = options.at(work)
        with database_server(options.databases[0], work, options.postgres_uri) as databases:
            for server in options.servers:
                if server.needs_database:
                    rows += [_row(server, databases, count, given, tell) for count in points]
    head = ["history in one answer", "points", "MiB", "s", "idle RSS, MiB", "peak RSS, MiB"]
    return table(head, rows)
