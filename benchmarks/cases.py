"""The cases, one row each, with their k6 script and the rows that its requests write."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from benchmarks import catalog_seeds, seeds, trace_seeds
from benchmarks.seeds import Needs, Seed

USERS: Final = 20
LISTS: Final = "page-lists"
SELECTIVE: Final = "params.group = 'g3' and metrics.loss < 2"
BROAD: Final = "metrics.loss < 0.9 and params.optimizer = 'adam'"


class Target(Enum):
    """The runs that a case writes to."""

    SHARED_RUN = "one run shared by all users"
    OWN_RUNS = "a run per user"
    POOL = "fresh runs, 200 params each"
    NEW_RUNS = "the requests make runs"


@dataclass(frozen=True)
class Writes:
    """The rows of one request."""

    target: Target
    metrics: int = 0
    params: int = 0
    tags: int = 0

    @property
    def rows(self) -> int:
        """Rows that a request adds, not counting what it overwrites (latest_metrics, old tags)."""
        return 1 if self.target is Target.NEW_RUNS else self.metrics + self.params + self.tags

    def sizes(self) -> dict[str, str]:
        if self.target is Target.NEW_RUNS:
            return {}
        counts = {"METRICS": self.metrics, "PARAMS": self.params, "TAGS": self.tags}
        return {name: str(count) for name, count in counts.items()}


class On(Enum):
    """The servers that a case is for; those with users check a password with each request."""

    OPEN = "servers without users"
    BOTH = "all servers"
    USERS = "servers with users"


@dataclass(frozen=True)
class Case:
    """`env` selects the runner's seeded data; run by hand, each script creates its own."""

    name: str
    title: str
    script: str
    writes: Writes | None = None
    seeds: frozenset[Seed] = frozenset()
    env: dict[str, str] = field(default_factory=dict)
    users: int = USERS
    pool_segment: int | None = None
    quick: bool = False
    on: On = On.OPEN
    needs: Needs | None = None
    uses_indexes: bool = False

    def runs_on(
        self, *, has_users: bool, offers: frozenset[Needs], has_indexes: bool = False
    ) -> bool:
        """Whether a server with or without users, these tables, and optional indexes is measured."""
        if self.needs is not None and self.needs not in offers:
            return False
        if has_indexes and not self.uses_indexes:
            return False
        return self.on in (On.BOTH, On.USERS if has_users else On.OPEN)

    def environment(self, *, warmup: bool, null: bool) -> dict[str, str]:
        """Variables for k6; the null server has only one run."""
        env = dict(self.env)
        if self.writes is not None:
            env |= self.writes.sizes()
        if self.pool_segment is not None and not null:
            first, count = seeds.pool_segment(self.pool_segment)
            if warmup:
                first, count = 0, seeds.POOL_WARMUP_RUNS
            env |= {"POOL": seeds.POOL_SET, "POOL_FIRST": str(first), "POOL_COUNT": str(count)}
        if null and "SEEDED_COUNT" in env:
            env["SEEDED_COUNT"] = "1"
        return env


def _search(
    name: str, title: str, seed: Seed, query: str, quick: bool = False, alike: bool = False
) -> Case:
    experiment = {
        Seed.SMALL_RUNS: seeds.SMALL_EXPERIMENT,
        Seed.LARGE_RUNS: seeds.LARGE_EXPERIMENT,
    }[seed]
    env = {"EXPERIMENT_ID": str(experiment), "FILTER": query} | ({"ALIKE": "1"} if alike else {})
    script = "k6SearchRunsPerfScript.js"
    return Case(name, title, script, seeds=frozenset({seed}), env=env, quick=quick)


def search_catalog(name: str, title: str, kind: str, experiment: int | None = None) -> Case:
    """A search of registered models, versions or logged models; `kind` is the first part of its path."""
    needs = Needs.REGISTRY if experiment is None else Needs.MLFLOW_3
    where = {} if experiment is None else {"EXPERIMENT_ID": str(experiment)}
    return Case(
        name,
        title,
        "k6SearchModelsPerfScript.js",
        seeds=frozenset({Seed.MODELS if experiment is None else Seed.LOGGED_MODELS}),
        env={"KIND": kind} | where,
        needs=needs,
    )


def _search_traces(
    name: str,
    title: str,
    query: str,
    found: int = 100,
    seed: Seed = Seed.TRACES,
    alike: bool = False,
) -> Case:
    experiment = {
        Seed.TRACES: trace_seeds.EXPERIMENT,
        Seed.MANY_TRACES: trace_seeds.MANY_EXPERIMENT,
    }[seed]
    env = {"EXPERIMENT_ID": str(experiment), "FILTER": query, "FOUND": str(found)}
    return Case(
        name,
        title,
        "k6SearchTracesPerfScript.js",
        seeds=frozenset({seed}),
        env=env | ({"ALIKE": "1"} if alike else {}),
        needs=Needs.MLFLOW_3,
        uses_indexes=bool(query),
    )


# Reads come first, because a fast server writes more rows, which would slow down its reads.
CASES: Final = (
    Case(
        "get-run",
        "get run (10 metrics, 10 params)",
        "k6GetRunPerfScript.js",
        seeds=frozenset({Seed.SMALL_RUNS}),
        env={"SEEDED": seeds.SMALL_SET, "SEEDED_COUNT": str(seeds.SMALL_RUNS)},
        quick=True,
        on=On.BOTH,
    ),
    Case(
        "search-experiments",
        "search experiments, 100 of 200",
        "k6SearchExperimentsPerfScript.js",
        seeds=frozenset({Seed.EXPERIMENTS}),
        env={"PREFIX": seeds.LISTED_PREFIX},
    ),
    _search("search-runs-1k", "search 100 of 1,000 runs, broad", Seed.SMALL_RUNS, BROAD, True),
    _search("search-runs-1k-few", "search 100 of 1,000, selective", Seed.SMALL_RUNS, SELECTIVE),
    _search(
        "search-runs-1k-alike",
        "search 100 of 1,000 runs, all users alike",
        Seed.SMALL_RUNS,
        BROAD,
        alike=True,
    ),
    Case(
        "search-runs-100k-newest",
        "the newest 81 to 100 of 100,000 runs",
        "k6SearchRunsPerfScript.js",
        seeds=frozenset({Seed.LARGE_RUNS}),
        env={"EXPERIMENT_ID": str(seeds.LARGE_EXPERIMENT), "NEWEST": "1"},
    ),
    _search("search-runs-100k", "search 100 of 100,000, broad", Seed.LARGE_RUNS, BROAD),
    _search("search-runs-100k-few", "search 100 of 100,000, selective", Seed.LARGE_RUNS, SELECTIVE),
    search_catalog("search-models", "search 100 of 1,000 registered models", "registered-models"),
    search_catalog("search-versions", "search 100 of 1,000 model versions", "model-versions"),
    search_catalog(
        "search-logged-models",
        "search 100 of 1,000 logged models",
        "logged-models",
        catalog_seeds.LOGGED_EXPERIMENT,
    ),
    Case(
        "history-10k",
        "metric history, 10,000 points",
        "k6MetricHistoryPerfScript.js",
        seeds=frozenset({Seed.HISTORY}),
        env={"RUN_ID": seeds.HISTORY_RUN, "POINTS": str(seeds.HISTORY_POINTS)},
    ),
    Case(
        "interval-1m",
        "chart of 1,000,000 points (bulk-interval)",
        "k6MetricIntervalPerfScript.js",
        seeds=frozenset({Seed.LONG_HISTORY}),
        env={"RUN_ID": seeds.LONG_RUN},
    ),
    Case(
        "get-trace",
        "get a trace of 10 spans",
        "k6GetTracePerfScript.js",
        seeds=frozenset({Seed.TRACES}),
        env={"TRACES": str(trace_seeds.TRACES), "SPANS": str(trace_seeds.SPANS_PER_TRACE)},
        needs=Needs.MLFLOW_3,
    ),
    _search_traces("search-traces", "search the newest 100 of 10,000 traces", ""),
    _search_traces(
        "search-traces-alike", "search the newest 100 traces, all users alike", "", alike=True
    ),
    _search_traces(
        "search-traces-tag", "search 100 traces by tag", f"tags.{trace_seeds.TAG} = 'prod'"
    ),
    _search_traces(
        "search-traces-session",
        "search the 10 traces of a session",
        "metadata.`mlflow.trace.session` = 'session-77'",
        trace_seeds.TRACES_PER_SESSION,
    ),
    _search_traces(
        "search-traces-span", "search 100 traces by the name of a span", "span.name = 'step 3'"
    ),
    _search_traces(
        "search-traces-text",
        "search one text in 100,000 spans",
        f"trace.text LIKE '%{trace_seeds.RARE_WORD}%'",
        1,
    ),
    _search_traces(
        "search-many-traces-span",
        "search 100 of 50,000 traces by the name and the type of a span",
        f"span.name = '{trace_seeds.SELDOM}' AND span.type = 'TOOL'",
        trace_seeds.MANY_TRACES // trace_seeds.SELDOM_EVERY,
        Seed.MANY_TRACES,
    ),
    _search_traces(
        "search-many-traces-text",
        "search one text in 500,000 spans",
        f"trace.text LIKE '%{trace_seeds.RARE_WORD}%'",
        1,
        Seed.MANY_TRACES,
    ),
    Case(
        "trace-metrics",
        "the eleven queries of an experiment's overview",
        "k6TraceMetricsPerfScript.js",
        seeds=frozenset({Seed.TRACES}),
        env={"EXPERIMENT_ID": str(trace_seeds.EXPERIMENT), "START_MS": str(trace_seeds.START_MS)},
        needs=Needs.MLFLOW_3,
    ),
    Case(
        LISTS,
        "the page's lists: datasets, judges, review, gateway (1 user)",
        "k6PageListsPerfScript.js",
        users=1,
        needs=Needs.MLFLOW_3,
    ),
    Case(
        "log-batch-10",
        "log-batch of 10 metrics, shared run",
        "k6LogBatchPerfScript.js",
        writes=Writes(Target.SHARED_RUN, metrics=10),
        quick=True,
        on=On.BOTH,
    ),
    Case(
        "log-batch-10-own",
        "log-batch of 10 metrics, run per user",
        "k6LogBatchOwnRunPerfScript.js",
        writes=Writes(Target.OWN_RUNS, metrics=10),
        quick=True,
        on=On.BOTH,
    ),
    Case(
        "log-batch-10-users",
        "log-batch of 10 metrics, 20 passwords",
        "k6LogBatchUsersPerfScript.js",
        writes=Writes(Target.OWN_RUNS, metrics=10),
        on=On.USERS,
    ),
    Case(
        "log-batch-10-guessers",
        "log-batch of 10 metrics, 20 passwords, beside 4 clients that guess passwords",
        "k6LogBatchUsersPerfScript.js",
        writes=Writes(Target.OWN_RUNS, metrics=10),
        env={"GUESSERS": "4"},
        users=24,
        on=On.USERS,
    ),
    Case(
        "log-batch-500",
        "log-batch of 500 metrics, shared run",
        "k6LogBatchPerfScript.js",
        writes=Writes(Target.SHARED_RUN, metrics=500),
    ),
    Case(
        "log-batch-500-own",
        "log-batch of 500 metrics, run per user",
        "k6LogBatchOwnRunPerfScript.js",
        writes=Writes(Target.OWN_RUNS, metrics=500),
    ),
    Case(
        "log-params-10",
        "log-batch of 10 params",
        "k6LogParamsPerfScript.js",
        writes=Writes(Target.POOL, params=10),
        seeds=frozenset({Seed.POOL}),
        pool_segment=0,
    ),
    Case(
        "log-params-100",
        "log-batch of 100 params",
        "k6LogParamsPerfScript.js",
        writes=Writes(Target.POOL, params=100),
        seeds=frozenset({Seed.POOL}),
        pool_segment=1,
    ),
    Case(
        "log-batch-mixed",
        "log-batch of 50 tags, 50 params, 300 metrics",
        "k6LogBatchMixedPerfScript.js",
        writes=Writes(Target.POOL, metrics=300, params=50, tags=50),
        seeds=frozenset({Seed.POOL}),
        pool_segment=2,
    ),
    Case(
        "create-run",
        "create run",
        "k6CreateRunPerfScript.js",
        writes=Writes(Target.NEW_RUNS),
        quick=True,
    ),
    Case(
        "otlp-1x10",
        "OTLP: a trace of 10 spans",
        "k6OtlpPerfScript.js",
        users=8,
        env={"TRACES": "1", "SPANS": "10"},
    ),
    Case(
        "otlp-100x10",
        "OTLP: 100 traces of 10 spans",
        "k6OtlpPerfScript.js",
        users=8,
        env={"TRACES": "100", "SPANS": "10"},
    ),
    Case(
        "start-trace",
        "a trace as the client sends it: OTLP of 10 spans, then POST traces",
        "k6OtlpPerfScript.js",
        users=8,
        env={"TRACES": "1", "SPANS": "10", "START": "1"},
    ),
    Case(
        "upsert-records-1k",
        "upsert 1,000 new records of a dataset",
        "k6UpsertRecordsPerfScript.js",
        users=4,
        env={"RECORDS": "1000"},
        needs=Needs.MLFLOW_3,
    ),
    Case(
        "upsert-records-1k-again",
        "upsert 1,000 known records of a dataset",
        "k6UpsertRecordsPerfScript.js",
        users=4,
        env={"RECORDS": "1000", "AGAIN": "1"},
        needs=Needs.MLFLOW_3,
    ),
    Case(
        "realistic-mix",
        "realistic mix: 8 trainers, 4 readers",
        "k6RealisticMixPerfScript.js",
        seeds=frozenset({Seed.SMALL_RUNS}),
        env={"EXPERIMENT_ID": str(seeds.SMALL_EXPERIMENT)},
        writes=None,
        users=12,
    ),
)

BY_NAME: Final = {case.name: case for case in CASES}


def chosen(names: list[str] | None, *, quick: bool = False) -> list[Case]:
    """The selected cases, in the table's order; a name may end in `*`."""
    if not names:
        return [case for case in CASES if case.quick or not quick]
    found: list[Case] = []
    for name in names:
        starts = name[:-1] if name.endswith("*") else None
        hits = [c for c in CASES if c.name == name or (starts and c.name.startswith(starts))]
        if not hits:
            raise ValueError(f"no case {name!r}; there are: {', '.join(BY_NAME)}")
        found += hits
    return [case for case in CASES if case in found]


def seeds_of(cases: list[Case]) -> frozenset[Seed]:
    return frozenset().union(*(case.seeds for case in cases))
