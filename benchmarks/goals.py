"""The goals of a benchmark, and whether the results reach them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import figures
from benchmarks.cases import BY_NAME, LISTS
from benchmarks.results import OURS

if TYPE_CHECKING:
    from benchmarks.results import Results

STOCK: Final = "mlflow"
PEERS: Final = ("mlflow-go", "fasttrackml")


@dataclass(frozen=True)
class Goal:
    """Factors of requests/s; `limit` is a share of the raw database or of the null server."""

    case: str
    stock: float
    peer: float | None = None
    limit: float | None = None
    database: str = "postgresql"


def _goals(cases: str, stock: float, peer: float, limit: float | None = None) -> list[Goal]:
    return [Goal(case, stock, peer, limit) for case in cases.split()]


GOALS: Final = (
    *_goals("log-batch-10 log-batch-10-own", 20, 4, 0.85),
    *_goals("log-batch-500 log-batch-500-own log-batch-mixed", 15, 3, 0.85),
    *_goals("log-params-10 log-params-100 create-run", 15, 3),
    *_goals("get-run search-experiments", 25, 2, 0.3),
    *_goals("search-runs-1k search-runs-1k-few search-runs-100k search-runs-100k-few", 20, 3),
    Goal("search-runs-100k-newest", 50, 20),
    *_goals("search-models search-versions", 20, 3),
    Goal("search-logged-models", 20),  # no peer has them
    *_goals("history-10k", 20, 3),
    Goal("history-10k", 20, 3, None, "sqlite"),
    Goal("log-batch-10", 20, 4, 0.7, "sqlite"),
    Goal("get-trace", 15),
    Goal("search-traces", 20),
    Goal("search-traces-tag", 20),
    Goal("search-traces-session", 20),
    Goal("search-traces-span", 20),
    Goal("search-traces-text", 3),
    Goal("search-many-traces-span", 10),
    Goal("search-many-traces-text", 3),
    Goal("trace-metrics", 5),
    Goal("otlp-100x10", 10),
    Goal("start-trace", 15),
    *(
        Goal(f"upsert-records-1k{again}", 20, database=database)
        for database in ("postgresql", "sqlite")
        for again in ("", "-again")
    ),
)
LIST_MS: Final = 2  # p50 of each list of the page, with one user
# Latency of each case above, as a share of the other server's.
P99_OF_STOCK: Final = 1 / 10
P99_OF_PEER: Final = 1 / 2
IDLE_MIB: Final = 100
IDLE_OF_STOCK: Final = 1 / 30
LOADED_MIB: Final = 200
READY_S: Final = 0.5
READY_OF_STOCK: Final = 1 / 20
# The time of a selective search may grow by less than this factor from 1,000 to 100,000 runs.
SEARCH_GROWTH: Final = 100
PYTHON_API: Final = 5


@dataclass(frozen=True)
class Verdict:
    """`found` and `wanted` have the same unit; `reached` is None if nothing was measured."""

    what: str
    against: str
    wanted: str
    found: str
    reached: bool | None


def best_peer(results: Results, database: str, case: str, field: str) -> float | None:
    """The best median of the peers without failures: the highest rate or the lowest latency."""
    found = [results.median(database, case, peer, field) for peer in PEERS]
    known = [value for value in found if value is not None]
    if not known:
        return None
    return max(known) if field == "requests_per_s" else min(known)


def share_of_limit(results: Results, database: str, case: str) -> float | None:
    """Share of the raw database's rows/s for writes, of the null server's rate for reads."""
    ours = results.median(database, case, OURS, "requests_per_s")
    writes = BY_NAME[case].writes if case in BY_NAME else None
    if writes is None:
        return figures.ratio(ours, results.median(database, case, "null", "requests_per_s"))
    limit = results.limit_rows_per_s(database, case)
    if ours is None or limit is None:
        return None
    return ours * writes.rows / limit[0]


def share_of_shape(results: Results, database: str, case: str, shape: str) -> float | None:
    """Our rows/s as a share of one shape of the raw-database probe (`each` or `grouped`)."""
    ours = results.median(database, case, OURS, "requests_per_s")
    writes, rows = BY_NAME[case].writes, results.shape_rows_per_s(database, case, shape)
    return None if ours is None or writes is None else figures.ratio(ours * writes.rows, rows)


def combined_limit(results: Results, database: str, case: str) -> float | None:
    """Requests/s if only the load generator and the database share the cores.

    Each request then takes the null server's time plus the raw database's time.
    """
    null = results.median(database, case, "null", "requests_per_s")
    writes, raw = BY_NAME[case].writes, results.limit_rows_per_s(database, case)
    if null is None or writes is None or raw is None:
        return None
    return 1 / (1 / null + writes.rows / raw[0])


def _at_least(what: str, against: str, wanted: float, found: float | None) -> Verdict:
    shown = "not measured" if found is None else f"{found:.1f}x"
    return Verdict(
        what, against, f"≥ {wanted:g}x", shown, None if found is None else found >= wanted
    )


def _at_most(what: str, against: str, wanted: float, found: float | None, unit: str) -> Verdict:
    shown = "not measured" if found is None else f"{found:.3g}{unit}"
    reached = None if found is None else found <= wanted
    return Verdict(what, against, f"≤ {wanted:.3g}{unit}", shown, reached)


def _throughput(results: Results, goal: Goal) -> list[Verdict]:
    where = (goal.database, goal.case)
    what = f"{goal.database}: {BY_NAME[goal.case].title}"
    ours = results.median(*where, OURS, "requests_per_s")
    stock = results.median(*where, STOCK, "requests_per_s")
    verdicts = [_at_least(what, "stock", goal.stock, figures.ratio(ours, stock))]
    if goal.peer is not None:
        rate = best_peer(results, *where, "requests_per_s")
        verdicts.append(_at_least(what, "best peer", goal.peer, figures.ratio(ours, rate)))
    if goal.limit is not None:
        verdicts += _limits(results, goal, what)
    return verdicts


def _limits(results: Results, goal: Goal, what: str) -> list[Verdict]:
    assert goal.limit is not None
    where = (goal.database, goal.case)
    if BY_NAME[goal.case].writes is None:
        shares = {"null server": share_of_limit(results, *where)}
    else:
        shares = {
            f"raw database, {shape}": share_of_shape(results, *where, shape)
            for shape in ("each", "grouped")
        }
    return [
        Verdict(
            what,
            against,
            f"≥ {goal.limit:.0%}",
            "not measured" if share is None else f"{share:.0%}",
            None if share is None else share >= goal.limit,
        )
        for against, share in shares.items()
    ]


def _latency(results: Results, goal: Goal) -> list[Verdict]:
    where = (goal.database, goal.case)
    what = f"{goal.database}: p99 of {BY_NAME[goal.case].title}"
    ours = results.median(*where, OURS, "p99_ms")
    stock = figures.ratio(ours, results.median(*where, STOCK, "p99_ms"))
    peer = figures.ratio(ours, best_peer(results, *where, "p99_ms"))
    return [
        _at_most(what, "stock", P99_OF_STOCK, stock, "x"),
        _at_most(what, "best peer", P99_OF_PEER, peer, "x"),
    ]


def _lists(results: Results, database: str) -> list[Verdict]:
    found = results.kinds_ms(database, LISTS, OURS, "p50_ms")
    return [
        _at_most(f"{database}: p50 of the list of {kind}", "absolute", LIST_MS, ms, " ms")
        for kind, ms in found.items()
    ]


def _growth(results: Results, database: str) -> Verdict:
    few = results.median(database, "search-runs-1k-few", OURS, "requests_per_s")
    many = results.median(database, "search-runs-100k-few", OURS, "requests_per_s")
    found = figures.ratio(few, many)
    what = f"{database}: cost of a selective search, 100 times the runs"
    return _at_most(what, "1,000 runs", SEARCH_GROWTH, found, "x")


def idle_mib(results: Results, database: str, server: str) -> float | None:
    rows = [r for r in results.starts if (r.database, r.server) == (database, server) and r.round]
    return figures.median([row.idle_rss_mib for row in rows if row.idle_rss_mib is not None])


def loaded_mib(results: Results, database: str, server: str) -> float | None:
    """The highest resident memory under load, of all cases."""
    rows = [r for r in results.samples if (r.database, r.server) == (database, server)]
    return max((row.rss_mib for row in rows if row.rss_mib), default=None)


def ready_s(results: Results, database: str, server: str, *, empty: bool = False) -> float | None:
    rows = [r for r in results.starts if (r.database, r.server) == (database, server)]
    wanted = [row.ready_s for row in rows if (row.round == 0) == empty]
    return figures.median([value for value in wanted if value is not None])


def api_ms(results: Results, database: str, store: str) -> float | None:
    """Median time of log_batch through the Python API; None if a round failed."""
    rows = [r for r in results.python_api if (r["database"], r["store"]) == (database, store)]
    if any(row["error"] for row in rows):
        return None
    return figures.median([row["mean_ms"] for row in rows])


def _api(results: Results, database: str) -> Verdict:
    stock, ours = (api_ms(results, database, store) for store in (STOCK, OURS))
    what = f"{database}: Python API, log_batch of 10 metrics"
    return _at_least(what, "stock", PYTHON_API, figures.ratio(stock, ours))


def _process(results: Results, database: str) -> list[Verdict]:
    idle = idle_mib(results, database, OURS)
    ready = ready_s(results, database, OURS)
    idle_ratio = figures.ratio(idle, idle_mib(results, database, STOCK))
    ready_ratio = figures.ratio(ready, ready_s(results, database, STOCK))
    memory, start = f"{database}: idle memory", f"{database}: ready after start"
    loaded = loaded_mib(results, database, OURS)
    return [
        _at_most(memory, "absolute", IDLE_MIB, idle, " MiB"),
        _at_most(memory, "stock", IDLE_OF_STOCK, idle_ratio, "x"),
        _at_most(f"{database}: memory under load", "absolute", LOADED_MIB, loaded, " MiB"),
        _at_most(start, "absolute", READY_S, ready, " s"),
        _at_most(start, "stock", READY_OF_STOCK, ready_ratio, "x"),
    ]


def verdicts(results: Results) -> list[Verdict]:
    """Return the verdict of every goal whose case was part of the run."""
    found: list[Verdict] = []
    for goal in GOALS:
        if goal.case in results.cases(goal.database):
            found += _throughput(results, goal) + _latency(results, goal)
    for database in results.databases():
        found += _lists(results, database)
        if {"search-runs-1k-few", "search-runs-100k-few"} <= set(results.cases(database)):
            found.append(_growth(results, database))
        found += _process(results, database)
        if any(row["database"] == database for row in results.python_api):
            found.append(_api(results, database))
    return found
