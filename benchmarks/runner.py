"""A whole benchmark: the servers alternate in each round, each with a new database."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import figures, machine, null_server, python_api, verify
from benchmarks.cases import Case, seeds_of
from benchmarks.databases import Databases, PostgresDatabases, SqliteDatabases
from benchmarks.load import Load, failed, run_k6
from benchmarks.measure import PeakMemory, cpu_s, memory, wait_idle
from benchmarks.postgres import PostgresCluster
from benchmarks.probe import prepare_statements, run_probe
from benchmarks.progress import Progress
from benchmarks.results import ProbeSample, Results, Sample, Start
from benchmarks.seeds import Seed, offered
from benchmarks.servers import LOGIN, RunningServer, Server, StartError, tune_command

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE: Final = "probe"
HAS_TRIGRAMS: Final = "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"
# Expected seconds, only for the progress bar.
START_S: Final = {"mlflow": 30, "mlflow-users": 30, "mlflow-users-cache": 30, "mlflow-go": 15}
CASE_OVERHEAD_S: Final = 3
PROBE_SHAPES: Final = 3
PYTHON_API_S: Final = 25


@dataclass(frozen=True)
class Options:
    """The options of `python -m benchmarks`."""

    servers: list[Server]
    cases: list[Case]
    databases: list[str]
    rounds: int = 3
    seconds: float = 10
    warmup_s: float = 3
    users: int | None = None
    probe: bool = True
    python_api: bool = False
    postgres_uri: str | None = None
    work: Path | None = None

    def at(self, work: Path) -> Options:
        return replace(self, work=work)


@contextlib.contextmanager
def workplace(options: Options) -> Iterator[Path]:
    """Yield a folder for databases and logs, and remove it at the end unless it was given."""
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
        yield options.work
        return
    folder = Path(tempfile.mkdtemp(prefix="headrace-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def database_server(kind: str, work: Path, uri: str | None) -> Iterator[Databases]:
    if kind == "sqlite":
        folder = work / "sqlite"
        try:
            yield SqliteDatabases(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    cluster = PostgresCluster(work, uri)
    databases = PostgresDatabases(cluster, "headrace_bench")
    try:
        yield databases
    finally:
        databases.drop_all()
        cluster.stop()


def measure(
    case: Case, running: RunningServer, databases: Databases, uri: str, options: Options
) -> tuple[Load, Sample]:
    """Warm up, measure and verify; the caller sets `database` and `round` of the sample."""
    null = not running.server.needs_database
    users = options.users or case.users
    work = running.log.parent

    def load(warmup: bool) -> Load:
        seconds = options.warmup_s if warmup else options.seconds
        environment = case.environment(warmup=warmup, null=null)
        if running.server.has_users:
            environment |= LOGIN
        return run_k6(case.script, running.uri, environment, users, seconds, work)

    if options.warmup_s:
        load(warmup=True)
    before = {} if null else verify.rows_before(case, databases, uri)
    server, database = cpu_s(running.pid), None if null else cpu_s(databases.pid)
    with PeakMemory(running.pid) as memory_used:
        sample = load(warmup=False) if running.is_alive() else failed("the server ended", 0.0)
    thousand = max(sample.requests, 1) / 1000
    wrong = ""
    if not null:
        latest = not running.server.fasttrackml_tables
        wrong = verify.missing(case, sample, before, databases, uri, latest=latest)

    def spent(before_s: float | None, pid: int | None) -> float | None:
        now = cpu_s(pid)
        return None if now is None or before_s is None else (now - before_s) / thousand

    sample = Sample(
        database=databases.kind,
        server=running.server.name,
        case=case.name,
        round=0,
        requests=sample.requests,
        failures=sample.failures,
        seconds=sample.seconds,
        requests_per_s=sample.requests_per_s,
        p50_ms=sample.p50_ms,
        p95_ms=sample.p95_ms,
        p99_ms=sample.p99_ms,
        client_cpu_s=sample.client_cpu_s / thousand,
        server_cpu_s=spent(server, running.pid),
        database_cpu_s=spent(database, databases.pid),
        rss_mib=memory_used.peak.rss_mib,
        pss_mib=memory_used.peak.pss_mib,
        error=sample.error or wrong,
        kinds=sample.kinds,
    )
    return sample, sample


def cases_on(server: Server, cases: list[Case]) -> list[Case]:
    """The cases that a server is measured with."""
    return [
        case
        for case in cases
        if case.runs_on(
            has_users=server.has_users,
            offers=server.offers,
            has_indexes=server.has_indexes,
        )
    ]


class Benchmark:
    """The state of a run: results so far, databases, the progress bar."""

    def __init__(self, options: Options, results: Results, work: Path) -> None:
        self.options = options
        self.results = results
        self.work = work
        self.seeds = seeds_of(options.cases)
        self.progress = Progress(self._weight())

    def _case_s(self) -> float:
        return self.options.seconds + self.options.warmup_s + CASE_OVERHEAD_S

    def _probe_case_s(self) -> float:
        return self.options.seconds / 2 * PROBE_SHAPES + 1

    def _start_s(self, server: Server) -> float:
        return START_S.get(server.name, 4)

    def _seed_s(self) -> float:
        heavy = {Seed.LARGE_RUNS: 60, Seed.LONG_HISTORY: 15, Seed.POOL: 3, Seed.MANY_TRACES: 60}
        return 1 + sum(heavy.get(seed, 1) for seed in self.seeds)

    def _weight(self) -> float:
        options = self.options
        written = sum(case.writes is not None for case in options.cases)
        total = 0.0
        for server in options.servers:
            if server.needs_database:
                total += self._start_s(server) + self._seed_s()
            cases = cases_on(server, options.cases)
            each = self._start_s(server) + len(cases) * self._case_s()
            total += each * options.rounds
        if options.probe:
            total += options.rounds * written * self._probe_case_s()
        if options.python_api:
            total += options.rounds * 2 * PYTHON_API_S
        return total * len(options.databases)

    def run(self) -> None:
        for kind in self.options.databases:
            with database_server(kind, self.work, self.options.postgres_uri) as databases:
                self.results.about["databases"][kind] = databases.version
                self._rounds(databases)
                if self.options.python_api:
                    self._python_api(databases)
        self.progress.finish()

    def _python_api(self, databases: Databases) -> None:
        rows = python_api.measure_all(
            databases,
            self.options.rounds,
            self.work,
            lambda label: self.progress.step(label, PYTHON_API_S),
        )
        self.results.python_api += rows
        for row in rows:
            if row["error"]:
                sys.stderr.write(f"\nPython API, {row['store']}: {row['error']}\n")

    def _rounds(self, databases: Databases) -> None:
        cases = self.options.cases
        fit = [s for s in self.options.servers if databases.kind in s.databases]
        fit = [s for s in fit if cases_on(s, cases)]
        usable = [s for s in fit if self._make_template(s, databases)]
        names = [server.name for server in usable] + ([PROBE] if self.options.probe else [])
        by_name = {server.name: server for server in usable}
        for number, order in enumerate(figures.turns(names, self.options.rounds), start=1):
            for name in order:
                if name == PROBE:
                    self._probe(databases, number)
                else:
                    self._server_turn(by_name[name], databases, number)

    def _make_template(self, server: Server, databases: Databases) -> bool:
        """Let the server create its tables in an empty database, then write the seeds."""
        if not server.needs_database:
            return True
        label = f"{databases.kind}: {server.name} creates its tables"
        self.progress.step(label, self._start_s(server))
        name = f"template_{server.name}"
        uri = databases.create(name)
        try:
            with RunningServer(server, uri, self.work) as running:
                start = Start(databases.kind, server.name, 0, running.ready_s)
                wait_idle(running.pid)
        except StartError as error:
            start = Start(databases.kind, server.name, 0, None, error=str(error))
            self.results.starts.append(start)
            sys.stderr.write(f"\n{error}\n")
            return False
        self.results.starts.append(start)
        self.progress.step(f"{databases.kind}: seed rows for {server.name}", self._seed_s())
        seeds = offered(self.seeds, server.offers)
        databases.seed(uri, seeds, fasttrackml=server.fasttrackml_tables)
        if server.has_indexes:
            (found,) = databases.run(uri, HAS_TRIGRAMS)
            command = tune_command(uri, has_trigrams=bool(found))
            environment = os.environ | server.environment
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return True

    def _server_turn(self, server: Server, databases: Databases, number: int) -> None:
        label = f"{databases.kind} {number}/{self.options.rounds} {server.name}"
        self.progress.step(f"{label}: start", self._start_s(server))
        name = f"round_{server.name}"
        uri = ""
        if server.needs_database:
            uri = databases.create(name, f"template_{server.name}")
        try:
            self._cases(server, databases, uri, number, label)
        finally:
            if server.needs_database:
                databases.drop(name)

    def _cases(
        self, server: Server, databases: Databases, uri: str, number: int, label: str
    ) -> None:
        running = self._start(server, databases.kind, uri, number)
        if running is None:
            return
        try:
            for case in cases_on(server, self.options.cases):
                self.progress.step(f"{label}: {case.name}", self._case_s())
                if not running.is_alive():
                    running.stop()
                    running = RunningServer(server, uri, self.work)
                _, sample = measure(case, running, databases, uri, self.options)
                row = Sample(**(asdict(sample) | {"round": number}))
                self.results.samples.append(row)
                if row.error:
                    sys.stderr.write(f"\n{label}: {case.name}: {row.error}\n")
        finally:
            running.stop()

    def _start(self, server: Server, kind: str, uri: str, number: int) -> RunningServer | None:
        try:
            running = RunningServer(server, uri, self.work)
        except StartError as error:
            self.results.starts.append(Start(kind, server.name, number, None, error=str(error)))
            sys.stderr.write(f"\n{error}\n")
            return None
        wait_idle(running.pid)
        idle = memory(running.pid)
        self.results.starts.append(
            Start(
                kind,
                server.name,
                number,
                running.ready_s,
                idle.rss_mib,
                idle.pss_mib,
                idle.processes,
            )
        )
        return running

    def _probe(self, databases: Databases, number: int) -> None:
        """Run the probe on a copy of the first server's database that has MLflow's own tables."""
        written = [case for case in self.options.cases if case.writes is not None]
        made = [s for s in self.options.servers if s.needs_database and not s.fasttrackml_tables]
        if not written or not made:
            return
        for case in written:
            label = f"{databases.kind} {number}/{self.options.rounds} raw database: {case.name}"
            self.progress.step(label, self._probe_case_s())
            uri = databases.create("round_probe", f"template_{made[0].name}")
            databases.write(uri, prepare_statements(databases.kind == "postgresql"))
            for shape in run_probe(case, uri, databases.pid, self.options.seconds / 2):
                row = ProbeSample(databases.kind, case.name, number, **asdict(shape))
                self.results.probes.append(row)
            databases.drop("round_probe")


def run(options: Options, command: str) -> Results:
    """Measure; an interrupted run (KeyboardInterrupt) also returns its results."""
    about = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        "machine": machine.describe(),
        "versions": machine.versions(),
        "databases": {},
        "servers": {s.name: {"title": s.title, "version": s.version()} for s in options.servers},
        "null_server": f"written in {null_server.language()}",
        "settings": {
            "users": options.users or "20 (12 in the realistic mix)",
            "rounds": options.rounds,
            "seconds": options.seconds,
            "warmup_s": options.warmup_s,
        },
    }
    results = Results(about)
    with workplace(options) as work:
        try:
            Benchmark(options, results, work).run()
        except KeyboardInterrupt:
            results.about["broken_off"] = True
            sys.stderr.write("\ninterrupted; these are the results so far\n")
    return results
