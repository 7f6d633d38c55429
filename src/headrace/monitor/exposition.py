"""The metrics of all processes in Prometheus's formats. Run it in a thread: it takes milliseconds."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from headrace.monitor.layout import (
    CELL,
    DURATIONS_S,
    ERROR_KINDS,
    GROUP_SIZES,
    POOLS,
    ROUTE_BUCKETS,
    ROUTE_SUM,
    STATUSES,
)
from headrace.monitor.monitor import STALE_NS
from headrace.version import __version__

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from headrace.api.context import Context
    from headrace.monitor.layout import Layout
    from headrace.monitor.monitor import Monitor

Row = Sequence[int]  # the cells of one process
PER_PROCESS: Final = (
    # figure, name, help, divided by
    ("resident_bytes", "process_resident_memory_bytes", "Resident memory of each process.", 1),
    ("open_files", "process_open_files", "Open file descriptors of each process.", 1),
    (
        "started_ms",
        "process_start_time_seconds",
        "Time at which each process started to serve.",
        1000,
    ),
    ("connections", "connections", "Open client connections.", 1),
    ("in_flight", "requests_in_flight", "Requests in progress.", 1),
    ("queue_operations", "write_queue_operations", "Writes waiting for their commit.", 1),
    ("queue_bytes", "write_queue_bytes", "Bytes of writes waiting for their commit.", 1),
    (
        "runs_set_aside",
        "runs_set_aside",
        "Runs whose writes wait because another database session has locked them.",
        1,
    ),
)


class MetricsCollector(Collector):
    """Collects all metrics of the server for one scrape."""

    def __init__(self, ctx: Context, monitor: Monitor, *, database_is_up: bool) -> None:
        self._monitor = monitor
        self._ctx = ctx
        self._database_is_up = database_is_up
        counters = monitor.counters
        rows = [
            (n, counters.row(n).tolist())
            for n in range(counters.rows)
            if counters.row(n)[CELL["pid"]]
        ]
        now_ns = monotonic_ns()
        self._living = [
            (n, row) for n, row in rows if 0 <= now_ns - row[CELL["published_ns"]] < STALE_NS
        ]
        self._total = [sum(column) for column in zip(*(row for _, row in rows), strict=True)]

    def collect(self) -> Iterator[Metric]:
        """Yield the families of metrics."""
        yield from requests(self._monitor.layout, self._total)
        if self._ctx.settings.expose_prometheus:
            yield stock_requests(self._monitor.layout, self._total)
        yield from group_commits(self._total)
        yield from spans(self._total)
        yield from self._processes()
        yield from self._database()
        yield from self._replicas()
        yield from self._server()

    def _processes(self) -> Iterator[Metric]:
        for figure, name, text, divisor in PER_PROCESS:
            gauge = GaugeMetricFamily(f"headrace_{name}", text, labels=["worker"])
            for number, row in self._living:
                gauge.add_metric([str(number)], row[CELL[figure]] / divisor)
            yield gauge
        cpu = CounterMetricFamily(
            "headrace_process_cpu_seconds", "CPU time of each process.", labels=["worker"]
        )
        for number, row in self._living:
            cpu.add_metric([str(number)], row[CELL["cpu_ns"]] / 1e9)
        yield cpu

    def _database(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "headrace_database_up", "1 if the database answered.", value=self._database_is_up
        )
        in_use = GaugeMetricFamily(
            "headrace_pool_connections",
            "Database connections by pool and state; the state max is the limit.",
            labels=["pool", "state"],
        )
        waiting = GaugeMetricFamily(
            "headrace_pool_waiting", "Callers waiting for a connection.", labels=["pool"]
        )
        for pool in POOLS:
            for figure, state in (("in_use", "in_use"), ("idle", "idle"), ("size", "max")):
                count = sum(row[CELL[f"{pool}_{figure}"]] for _, row in self._living)
                in_use.add_metric([pool, state], count)
            waiting.add_metric([pool], sum(row[CELL[f"{pool}_waiting"]] for _, row in self._living))
        yield in_use
        yield waiting
        yield CounterMetricFamily(
            "headrace_rows_written",
            "Rows inserted, updated or deleted.",
            value=self._total[CELL["rows_written"]],
        )
        errors = CounterMetricFamily(
            "headrace_database_errors", "Errors reported by the database.", labels=["kind"]
        )
        for kind in ERROR_KINDS:
            errors.add_metric([kind], self._total[CELL[f"error_{kind}"]])
        yield errors

    def _replicas(self) -> Iterator[Metric]:
        """The replicas as the worst placed process sees them. Without replicas there are no families."""
        names = [replica.name for replica in self._ctx.db.replicas]
        if not names:
            return
        gauges = (
            ("in_use", "replica_up", "1 if every process sends reads to the replica.", min, 1),
            (
                "lag_ms",
                "replica_lag_seconds",
                "Time since the primary was where the replica is.",
                max,
                1e3,
            ),
            ("lag_bytes", "replica_lag_bytes", "WAL that the replica has not replayed.", max, 1),
        )
        for figure, name, text, worst, divisor in gauges:
            gauge = GaugeMetricFamily(f"headrace_{name}", text, labels=["replica"])
            for n, replica in enumerate(names):
                values = [row[CELL[f"replica_{n}_{figure}"]] for _, row in self._living]
                if values:
                    gauge.add_metric([replica], worst(values) / divisor)
            yield gauge
        reads = CounterMetricFamily(
            "headrace_replica_reads",
            "Reads that were sent to a replica, by the server that answered.",
            labels=["replica", "answered_by"],
        )
        for n, replica in enumerate(names):
            reads.add_metric([replica, "replica"], self._total[CELL[f"replica_{n}_reads"]])
            reads.add_metric([replica, "primary"], self._total[CELL[f"replica_{n}_fallbacks"]])
        yield reads

    def _server(self) -> Iterator[Metric]:
        settings = self._ctx.settings
        yield GaugeMetricFamily("headrace_workers", "Server processes.", value=len(self._living))
        yield GaugeMetricFamily(
            "headrace_write_queue_max_operations",
            "Maximum number of waiting writes in one process; further writes get 429.",
            value=settings.write_queue_operations,
        )
        bridge = GaugeMetricFamily(
            "headrace_bridge_up", "1 while MLflow runs behind the bridge.", labels=["kind"]
        )
        for kind, runs in zip(("plain", "jobs"), self._monitor.watch_bridge(), strict=True):
            bridge.add_metric([kind], runs)
        yield bridge
        facts = {"version": __version__, "python": platform.python_version()}
        if not settings.artifacts_only:
            database = self._ctx.db
            facts |= {"database": database.dialect, "schema": database.schema.head}
        yield InfoMetricFamily(
            "headrace_build", "Versions of headrace, Python and the database schema.", value=facts
        )


def requests(layout: Layout, total: Row) -> Iterator[Metric]:
    """Yield requests by route and status, and durations by route. Omits routes without requests."""
    count = CounterMetricFamily(
        "headrace_requests", "Requests answered.", labels=["method", "route", "status"]
    )
    times = HistogramMetricFamily(
        "headrace_request_duration_seconds",
        "Time from the end of a request to the start of its response.",
        labels=["method", "route"],
    )
    for (method, path), cell in layout.cells.items():
        statuses = total[cell : cell + ROUTE_BUCKETS]
        if not any(statuses):
            continue
        for status, number in zip(STATUSES, statuses, strict=True):
            if number:
                count.add_metric([method, path, str(status)], number)
        buckets = cumulative(total[cell + ROUTE_BUCKETS : cell + ROUTE_SUM], DURATIONS_S)
        times.add_metric([method, path], buckets, total[cell + ROUTE_SUM] / 1e9)
    yield count
    yield times


def stock_requests(layout: Layout, total: Row) -> Metric:
    """Return the number of requests under the name of `mlflow server --expose-prometheus`."""
    sums: dict[tuple[str, str], int] = {}
    for (method, _), cell in layout.cells.items():
        for n, status in enumerate(STATUSES):
            if total[cell + n] and method:
                key = method, str(status)
                sums[key] = sums.get(key, 0) + total[cell + n]
    count = CounterMetricFamily(
        "mlflow_http_request", "Total number of HTTP requests", labels=["method", "status"]
    )
    for labels, number in sums.items():
        count.add_metric(labels, number)
    return count


def spans(total: Row) -> Iterator[Metric]:
    """The spans that came in through POST /v1/traces."""
    outcomes = CounterMetricFamily(
        "headrace_spans",
        "Spans of exports: stored; rejected, because they exceed a limit; refused with their whole "
        "export.",
        labels=["outcome"],
    )
    for outcome in ("stored", "rejected", "refused"):
        outcomes.add_metric([outcome], total[CELL[f"spans_{outcome}"]])
    yield outcomes
    yield CounterMetricFamily(
        "headrace_span_traces",
        "Traces that stored exports created or extended.",
        value=total[CELL["span_traces"]],
    )
    yield CounterMetricFamily(
        "headrace_span_bytes",
        "Bytes of stored exports after decompression.",
        value=total[CELL["span_bytes"]],
    )


def group_commits(total: Row) -> Iterator[Metric]:
    """Yield the sizes of group commits, their waiting times and durations."""
    families = (
        ("group_size", "operations", "Writes per commit.", GROUP_SIZES, 1),
        (
            "group_wait",
            "wait_seconds",
            "Time that the oldest write of a commit waited.",
            DURATIONS_S,
            1e9,
        ),
        ("group_flush", "flush_seconds", "Duration of a commit.", DURATIONS_S, 1e9),
    )
    for figure, name, text, bounds, divisor in families:
        first = CELL[f"{figure}_0"]
        buckets = cumulative(total[first : first + len(bounds) + 1], bounds)
        yield HistogramMetricFamily(
            f"headrace_group_commit_{name}",
            text,
            buckets=buckets,
            sum_value=total[CELL[f"{figure}_sum"]] / divisor,
        )


def cumulative(counts: Row, bounds: Sequence[float]) -> list[tuple[str, float]]:
    """Return Prometheus's buckets: each counts the values up to its bound."""
    buckets = []
    so_far = 0
    for bound, count in zip((*map(str, map(float, bounds)), "+Inf"), counts, strict=True):
        so_far += count
        buckets.append((bound, float(so_far)))
    return buckets


def scrape(ctx: Context, monitor: Monitor, is_up: bool, accept: str) -> tuple[bytes, str]:
    """Return the body of the response to a scrape, and its content type, chosen by the Accept header."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricsCollector(ctx, monitor, database_is_up=is_up))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
