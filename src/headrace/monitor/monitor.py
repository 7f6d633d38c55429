"""Metrics of one process, in a counter table that every process of the server can read.

`finish` runs for every request and takes about half a microsecond. Figures that can be sampled are sampled
once per second instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from bisect import bisect_left
from time import monotonic_ns, process_time_ns, time
from typing import TYPE_CHECKING, Final

from headrace.bridge.routes import rows
from headrace.db.errors import raised
from headrace.monitor.counter_table import CounterTable
from headrace.monitor.layout import (
    CELL,
    COLUMN_OF_STATUS,
    DURATIONS_NS,
    ERROR_KINDS,
    GROUP_SIZES,
    POOLS,
    ROUTE_BUCKETS,
    ROUTE_SUM,
    Layout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.api.route import Route
    from headrace.commit.group import GroupCommit
    from headrace.db.base import Database, ReplicaState
    from headrace.settings.table import Settings

PUBLISH_S: Final = 1.0
# A process that has not published for this long has ended.
STALE_NS: Final = 5_000_000_000
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_SIZE: Final = CELL["group_size_0"]
_SIZE_SUM: Final = CELL["group_size_sum"]
_WAIT: Final = CELL["group_wait_0"]
_WAIT_SUM: Final = CELL["group_wait_sum"]
_FLUSH: Final = CELL["group_flush_0"]
_FLUSH_SUM: Final = CELL["group_flush_sum"]


class Monitor:
    """The metrics of one process. It shares `counters` with the other processes of the server."""

    def __init__(self, layout: Layout, counters: CounterTable) -> None:
        self.layout = layout
        self.counters = counters
        self.cells = counters.claim()
        self.watch_server: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.watch_bridge: Callable[[], tuple[bool, bool]] = lambda: (False, False)
        self._task: asyncio.Task[None] | None = None
        self._db: Database | None = None
        self._writer: GroupCommit | None = None
        self._rows = 0
        self._errors = dict(raised)
        self._counted: dict[str, int] = {}  # reads of replicas that are in the cells
        self._cpu_ns = process_time_ns()

    def finish(self, cell: int, status: int, elapsed_ns: int) -> None:
        """Count a request. `cell` is that of its route, `elapsed_ns` the time until its response started."""
        cells = self.cells
        cells[cell + COLUMN_OF_STATUS[status]] += 1
        cells[cell + ROUTE_BUCKETS + bisect_left(DURATIONS_NS, elapsed_ns)] += 1
        cells[cell + ROUTE_SUM] += elapsed_ns

    def on_spans(self, stored: int, rejected: int, traces: int, size: int) -> None:
        """Count an export of spans that was stored: its spans, its traces, its decompressed bytes."""
        cells = self.cells
        cells[CELL["spans_stored"]] += stored
        cells[CELL["spans_rejected"]] += rejected
        cells[CELL["span_traces"]] += traces
        cells[CELL["span_bytes"]] += size

    def on_refused_spans(self, spans: int) -> None:
        """Count the spans of an export of which nothing was stored."""
        self.cells[CELL["spans_refused"]] += spans

    def on_group(self, operations: int, wait_s: float, flush_s: float) -> None:
        """Count a group commit."""
        cells = self.cells
        wait_ns, flush_ns = int(wait_s * 1e9), int(flush_s * 1e9)
        cells[_SIZE + bisect_left(GROUP_SIZES, operations)] += 1
        cells[_SIZE_SUM] += operations
        cells[_WAIT + bisect_left(DURATIONS_NS, wait_ns)] += 1
        cells[_WAIT_SUM] += wait_ns
        cells[_FLUSH + bisect_left(DURATIONS_NS, flush_ns)] += 1
        cells[_FLUSH_SUM] += flush_ns

    def start(self, db: Database, writer: GroupCommit) -> None:
        """Start to publish the sampled figures."""
        self._db, self._writer = db, writer
        writer.on_group = self.on_group
        self.cells[CELL["pid"]] = os.getpid()
        self.cells[CELL["started_ms"]] = int(time() * 1000)
        self.publish()
        self._task = asyncio.create_task(self._publish_every_second())

    def stop(self) -> None:
        """Publish the figures for the last time."""
        if self._task is not None:
            self._task.cancel()
            self.publish()
            self.cells[CELL["published_ns"]] = 0

    async def _publish_every_second(self) -> None:
        while True:
            await asyncio.sleep(PUBLISH_S)
            self.publish()

    def publish(self) -> None:
        """Write the sampled figures to the counter table."""
        assert self._db is not None and self._writer is not None, "publish needs start"
        cells = self.cells
        in_flight, connections = self.watch_server()
        resident_bytes, open_files = _memory_and_files()
        figures = {
            "published_ns": monotonic_ns(),
            "resident_bytes": resident_bytes,
            "open_files": open_files,
            "connections": connections,
            "in_flight": in_flight,
            "queue_operations": self._writer.depth,
            "queue_bytes": self._writer.depth_bytes,
            "runs_set_aside": self._writer.runs_set_aside,
        }
        load = self._db.load()
        for pool in POOLS:
            in_use, idle, waiting, size = load.get(pool, (0, 0, 0, 0))
            figures |= {f"{pool}_in_use": in_use, f"{pool}_idle": idle}
            figures |= {f"{pool}_waiting": waiting, f"{pool}_size": size}
        for name, value in figures.items():
            cells[CELL[name]] = value
        for n, replica in enumerate(self._db.replicas):
            self._publish_replica(f"replica_{n}", replica)
        now_ns = process_time_ns()
        cells[CELL["cpu_ns"]] += now_ns - self._cpu_ns
        self._cpu_ns = now_ns
        rows = self._db.row_count.rows
        cells[CELL["rows_written"]] += rows - self._rows
        self._rows = rows
        for kind in ERROR_KINDS:
            cells[CELL[f"error_{kind}"]] += raised[kind] - self._errors.get(kind, 0)
        self._errors = dict(raised)

    def _publish_replica(self, prefix: str, replica: ReplicaState) -> None:
        cells = self.cells
        cells[CELL[f"{prefix}_in_use"]] = replica.in_use
        cells[CELL[f"{prefix}_lag_ms"]] = round(replica.lag_s * 1000)
        cells[CELL[f"{prefix}_lag_bytes"]] = replica.lag_bytes
        for figure, count in (("reads", replica.reads), ("fallbacks", replica.fallbacks)):
            name = f"{prefix}_{figure}"
            cells[CELL[name]] += count - self._counted.get(name, 0)
            self._counted[name] = count


def layout_of(routes: Iterable[Route]) -> Layout:
    """Return the layout for a route table."""
    native = [(route.method, route.path) for route in routes]
    return Layout(
        native, [(method, line.path) for line in rows() for method in sorted(line.methods)]
    )


def counter_table_for(settings: Settings, layout: Layout, processes: int) -> CounterTable:
    """Create the counter table of a server. Its forked processes must share the returned object."""
    if settings.expose_prometheus:
        return CounterTable(layout.width, directory=settings.expose_prometheus, layout=layout.name)
    return CounterTable(layout.width, processes)


def _memory_and_files() -> tuple[int, int]:
    """Return resident bytes and open file descriptors of this process, or zeros if unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 once a second, 5 µs cheaper
            resident_bytes = int(file.read().split()[1]) * PAGE_BYTES
        return resident_bytes, len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208
    return 0, 0
