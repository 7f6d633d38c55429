"""Reads of tables with 1,000 to 1,000,000 rows, as curves over the number of rows.

    python -m benchmarks.curves prepare --folder DIR --size 1000 --size 100000
    python -m benchmarks.curves measure --folder DIR --size 1000 --size 100000

`prepare` lets each server create its tables, in a database of its own for each size, and fills them;
the folder keeps the databases, and a private PostgreSQL. `measure` adds its samples to
results/curves.json, where a new sample replaces the old one of the same point; `python -m benchmarks
figures` then writes table and charts into the docs. --server, --database and --case choose what is
prepared and measured.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import catalog_seeds, curve_seeds, figures, lines, machine, servers
from benchmarks.cases import BROAD, Case, search_catalog
from benchmarks.databases import Databases, PostgresDatabases, SqliteDatabases
from benchmarks.measure import wait_idle
from benchmarks.postgres import PostgresCluster, with_database
from benchmarks.runner import Options, cases_on, measure
from benchmarks.seeds import Dialect
from benchmarks.servers import RunningServer, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS: Final = Path(__file__).resolve().parent / "results" / "curves.json"
SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
SERVERS: Final = ("headrace", "mlflow", "mlflow-go", "fasttrackml")
PREFIX: Final = "headrace_curve"
TITLES: Final = {
    "newest": "newest 81 to 100 of n runs, no filter",
    "by-metric": "100 of n runs, filter, by metric",
    "few": "100 of 1,000 runs, among n runs",
    "experiments": "100 of n experiments, by name",
    "models": "100 of n registered models",
    "versions": "100 of n model versions",
    "logged-models": "100 of n logged models",
}


def cases(rows: int) -> list[Case]:
    """Return the searches in tables of that many rows."""
    runs, everything = "k6SearchRunsPerfScript.js", str(curve_seeds.experiment_of_all(rows))
    logged = catalog_seeds.LOGGED_EXPERIMENT
    filtered = {"FILTER": BROAD}
    few = filtered | {"EXPERIMENT_ID": str(curve_seeds.FEW_EXPERIMENT)}
    named = {"PREFIX": curve_seeds.LISTED_PREFIX}
    return [
        Case("newest", "", runs, env={"NEWEST": "1", "EXPERIMENT_ID": everything}),
        Case("by-metric", "", runs, env=filtered | {"EXPERIMENT_ID": everything}),
        Case("few", "", runs, env=few),
        Case("experiments", "", "k6SearchExperimentsPerfScript.js", env=named),
        search_catalog("models", "", "registered-models"),
        search_catalog("versions", "", "model-versions"),
        search_catalog("logged-models", "", "logged-models", logged),
    ]


class Kept:
    """The databases of one kind, and where they are."""

    def __init__(self, kind: str, options: argparse.Namespace) -> None:
        self.kind = kind
        self._folder: Path = options.folder / kind
        self._folder.mkdir(parents=True, exist_ok=True)
        self._cluster: PostgresCluster | None = None
        self.databases: Databases
        if kind == "postgresql":
            self._cluster = PostgresCluster(options.folder)
            self.databases = PostgresDatabases(self._cluster, PREFIX)
        else:
            self.databases = SqliteDatabases(self._folder)

    def _name(self, server: Server, rows: int) -> str:
        return f"{server.name}_{rows}".replace("-", "_")

    def uri(self, server: Server, rows: int) -> str:
        """The database of a server and a size, which may not exist."""
        name = self._name(server, rows)
        if self._cluster is None:
            return f"sqlite:///{self._folder / name}.db"
        return with_database(self._cluster.uri, f"{PREFIX}_{name}")

    def is_filled(self, server: Server, rows: int) -> bool:
        """Whether `fill` finished."""
        return (self._folder / f"{self._name(server, rows)}.filled").exists()

    def fill(self, server: Server, rows: int, work: Path) -> None:
        """Let the server create its tables, and write the rows."""
        name = self._name(server, rows)
        uri = self.databases.create(name)
        with RunningServer(server, uri, work) as running:
            wait_idle(running.pid)
        dialect = Dialect(self.kind == "postgresql", server.fasttrackml_tables)
        self.databases.fill(uri, curve_seeds.statements(dialect, rows, server.offers))
        (self._folder / f"{name}.filled").touch()

    def close(self) -> None:
        if self._cluster is not None:
            self._cluster.stop()


def _say(text: str) -> None:
    sys.stderr.write(f"{datetime.datetime.now(datetime.UTC):%H:%M:%S} {text}\n")


def prepare(kept: Kept, options: argparse.Namespace, work: Path) -> None:
    for rows in options.sizes:
        for server in options.servers:
            if not kept.is_filled(server, rows):
                _say(f"{kept.kind}: {rows:,} rows for {server.name}")
                kept.fill(server, rows, work)


def measured(kept: Kept, options: argparse.Namespace, work: Path) -> Iterator[dict[str, Any]]:
    """Measure all cases and yield a row for each."""
    asked = Options([], [], [], seconds=options.seconds, warmup_s=options.warmup)
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    for rows in options.sizes:
        chosen = [case for case in cases(rows) if case.name in (options.cases or TITLES)]
        for server in options.servers:
            uri = kept.uri(server, rows)
            if not kept.is_filled(server, rows):
                _say(f"{kept.kind}: {server.name} has no database of {rows:,} rows")
                continue
            with RunningServer(server, uri, work) as running:
                wait_idle(running.pid)
                for case in cases_on(server, chosen):
                    _, sample = measure(case, running, kept.databases, uri, asked)
                    row = asdict(sample) | {"rows": rows, "date": date}
                    yield {k: row[k] for k in FIELDS}
                    _say(
                        f"{kept.kind} {rows:,} {server.name} {case.name}:"
                        f" {sample.requests_per_s:.1f}/s {sample.error[:100]}"
                    )


FIELDS: Final = (
    "database", "rows", "server", "case", "requests_per_s", "p50_ms", "p99_ms", "server_cpu_s",
    "database_cpu_s", "requests", "failures", "error", "date",
)  # fmt: skip
POINT: Final = ("database", "rows", "server", "case")


def keep(rows: list[dict[str, Any]], path: Path = RESULTS) -> None:
    """Add the samples to the results; each replaces the older one of its point."""
    old = json.loads(path.read_text()) if path.exists() else {"samples": []}
    points = {tuple(row[name] for name in POINT): row for row in old["samples"] + rows}
    about = {"machine": machine.describe(), "versions": machine.versions()}
    samples = [points[key] for key in sorted(points)]
    path.write_text(json.dumps({"about": about, "samples": samples}, indent=1) + "\n")


def charts(path: Path = RESULTS) -> dict[str, str]:
    """Return the charts of the databases that were measured, as file name to SVG."""
    found = json.loads(path.read_text())
    machine_of = found["about"]["machine"]
    made = {}
    for kind, title in (("postgresql", "PostgreSQL"), ("sqlite", "SQLite")):
        panels = []
        for case, name in TITLES.items():
            curves = [_curve(found["samples"], kind, case, server) for server in SERVERS]
            if any(curve.points for curve in curves):
                panels.append(lines.Panel(name, tuple(c for c in curves if c.points)))
        if panels:
            note = (
                f"CPU-ms of server and database per search (20 users, {machine_of['cores']} cores)"
            )
            text = lines.line_charts(f"Searches over the number of rows, {title}", note, panels)
            made[f"curves-{kind}.svg"] = text
    return made


def cost_ms(row: dict[str, Any]) -> float:
    """CPU time of server and database per request, which other work on the machine changes little."""
    return float((row["server_cpu_s"] or 0) + (row["database_cpu_s"] or 0))


def _curve(samples: list[dict[str, Any]], kind: str, case: str, server: str) -> lines.Curve:
    points = [
        (row["rows"], cost_ms(row))
        for row in samples
        if (row["database"], row["case"], row["server"]) == (kind, case, server)
        and not row["error"]
    ]
    return lines.Curve(server, servers.BY_NAME[server].title, tuple(sorted(points)))


def table(path: Path = RESULTS) -> str:
    """Return a Markdown table of CPU-ms, and of the factors against stock and the cheapest peer.

    Requests/s are only in the results file: they would compare the minutes of the measurements.
    """
    samples = [row for row in json.loads(path.read_text())["samples"] if not row["error"]]
    costs = {tuple(row[name] for name in POINT): cost_ms(row) for row in samples}
    rows = []
    for kind, case in ((kind, case) for kind in ("postgresql", "sqlite") for case in TITLES):
        for size in SIZES:
            ours, stock, *others = (costs.get((kind, size, s, case)) for s in SERVERS)
            if ours is None:
                continue
            least = min((cost for cost in others if cost), default=None)
            factors = [figures.ratio(stock, ours), figures.ratio(least, ours)]
            shown = ["" if factor is None else f"{factor:.1f}x" for factor in factors]
            what = f"{kind} | {TITLES[case]} | {size:,}"
            rows.append(f"| {what} | {ours:.2f} | {' | '.join(shown)} |")
    head = "| database | search | n | CPU-ms | stock needs | the cheapest peer needs |"
    return "\n".join([head, "|---" * 6 + "|", *rows]) + "\n"


def parsed() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.curves")
    add = parser.add_argument
    add("command", choices=["prepare", "measure"])
    add("--folder", type=Path, default=Path(tempfile.gettempdir()) / "headrace-curves")
    add("--size", dest="sizes", type=int, action="append", help="rows of each table (all four)")
    add("--server", dest="servers", action="append", choices=SERVERS)
    add("--database", dest="databases", action="append", choices=["postgresql", "sqlite"])
    add("--case", dest="cases", action="append", choices=list(TITLES))
    add("--seconds", type=float, default=4)
    add("--warmup", type=float, default=1)
    options = parser.parse_args()
    options.servers = [servers.BY_NAME[name] for name in options.servers or SERVERS]
    options.sizes = options.sizes or list(SIZES)
    options.folder.mkdir(parents=True, exist_ok=True)
    return options


def main() -> None:
    """Do what the command line asks for."""
    options = parsed()
    for kind in options.databases or ["postgresql", "sqlite"]:
        with closing(Kept(kind, options)) as kept:
            if options.command == "prepare":
                prepare(kept, options, options.folder)
            else:
                for row in measured(kept, options, options.folder):
                    keep([row])  # at once, so that an interrupted measurement leaves its samples


if __name__ == "__main__":
    main()
