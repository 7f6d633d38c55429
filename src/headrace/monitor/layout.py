"""The layout of a row of the counter table: figures of the process, then a block per route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.db.base import MAX_REPLICAS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Upper bounds of histogram buckets. A small write takes 1 ms, a page of a search 5 ms, a long stream seconds.
DURATIONS_S: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
DURATIONS_NS: Final = tuple(round(bound * 1e9) for bound in DURATIONS_S)
GROUP_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Each of these statuses has a counter; any other status counts as the first of its class (such as 400).
STATUSES: Final = (
    *(100, 200, 201, 204, 206, 300, 301, 302, 304, 307, 308),
    *(400, 401, 403, 404, 405, 409, 411, 412, 413, 415, 416, 429),
    *(500, 501, 502, 503, 504, 507),
)
COLUMN_OF_STATUS: Final = tuple(
    STATUSES.index(status if status in STATUSES else max(100, status // 100 * 100))
    for status in range(600)
)
ROUTE_BUCKETS: Final = len(STATUSES)
ROUTE_SUM: Final = ROUTE_BUCKETS + len(DURATIONS_S) + 1  # nanoseconds
ROUTE_WIDTH: Final = ROUTE_SUM + 1

# Requests without a row in the route table. Bridged routes have rows of their own: this text and their path.
UNMATCHED: Final = ("", "(unmatched)")
BRIDGED: Final = ("", "(bridged)")
REFUSED: Final = ("", "(refused)")  # by the checks of Host and Origin
OTHERS: Final = (UNMATCHED, BRIDGED, REFUSED)

POOLS: Final = ("read", "point", "write")  # `point`: reads by key, on PostgreSQL
ERROR_KINDS: Final = (
    "Blocked",
    "DatabaseError",
    "DataRejected",
    "ForeignKeyViolation",
    "InDoubt",
    "Retryable",
    "Unavailable",
    "UniqueViolation",
)
REPLICA_FIGURES: Final = ("in_use", "lag_ms", "lag_bytes", "reads", "fallbacks")
FIGURES: Final = (
    "pid",
    "published_ns",  # by the monotonic clock, which all processes of a machine share
    "started_ms",  # since the epoch
    "cpu_ns",
    "resident_bytes",
    "open_files",
    "connections",
    "in_flight",
    "queue_operations",
    "queue_bytes",
    "runs_set_aside",
    *(f"{pool}_{figure}" for pool in POOLS for figure in ("in_use", "idle", "waiting", "size")),
    *(f"replica_{n}_{figure}" for n in range(MAX_REPLICAS) for figure in REPLICA_FIGURES),
    "rows_written",
    "spans_stored",
    "spans_rejected",
    "spans_refused",
    "span_traces",
    "span_bytes",
    *(f"error_{kind}" for kind in ERROR_KINDS),
    *(f"group_size_{n}" for n in range(len(GROUP_SIZES) + 1)),
    "group_size_sum",
    *(f"group_wait_{n}" for n in range(len(DURATIONS_S) + 1)),
    "group_wait_sum",
    *(f"group_flush_{n}" for n in range(len(DURATIONS_S) + 1)),
    "group_flush_sum",
)
CELL: Final = {name: n for n, name in enumerate(FIGURES)}
FIRST_ROUTE: Final = len(FIGURES)
UNMATCHED_CELL: Final = FIRST_ROUTE
BRIDGED_CELL: Final = FIRST_ROUTE + ROUTE_WIDTH
REFUSED_CELL: Final = FIRST_ROUTE + 2 * ROUTE_WIDTH


class Layout:
    """The first cells of routes, which are pairs of method and path. OTHERS come first."""

    def __init__(
        self, routes: Iterable[tuple[str, str]], bridged: Iterable[tuple[str, str]] = ()
    ) -> None:
        """`bridged`: the routes that stock MLflow may answer."""
        forwarded = ((method, BRIDGED[1] + path) for method, path in bridged)
        self.routes: Sequence[tuple[str, str]] = (*OTHERS, *dict.fromkeys([*routes, *forwarded]))
        self.cells = {route: FIRST_ROUTE + n * ROUTE_WIDTH for n, route in enumerate(self.routes)}
        self.width = FIRST_ROUTE + len(self.routes) * ROUTE_WIDTH

    def bridged_cell(self, method: str, path: str) -> int:
        """The first cell of a bridged route."""
        return self.cells.get((method, BRIDGED[1] + path), BRIDGED_CELL)

    @property
    def name(self) -> str:
        """A hash of the layout, so that a release does not read the file of another layout."""
        from hashlib import blake2b  # needed only for a table in a file

        facts = repr((FIGURES, STATUSES, DURATIONS_S, GROUP_SIZES, self.routes))
        return blake2b(facts.encode(), digest_size=6).hexdigest()
