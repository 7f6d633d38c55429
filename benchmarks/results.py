"""The records of a benchmark, as JSON on disk, and the medians over its rounds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from benchmarks import figures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OURS: Final = "headrace"


@dataclass(frozen=True)
class Sample:
    """One case of one server in one round; CPU seconds are per 1,000 requests."""

    database: str
    server: str
    case: str
    round: int
    requests: int
    failures: int
    seconds: float
    requests_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    client_cpu_s: float
    server_cpu_s: float | None
    database_cpu_s: float | None
    rss_mib: float | None
    pss_mib: float | None
    error: str = ""
    kinds: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """One start of a server, on an empty database (round 0) or on an existing one."""

    database: str
    server: str
    round: int
    ready_s: float | None
    idle_rss_mib: float | None = None
    idle_pss_mib: float | None = None
    processes: int | None = None
    error: str = ""


@dataclass(frozen=True)
class ProbeSample:
    database: str
    case: str
    round: int
    shape: str
    requests_per_s: float
    rows_per_s: float
    commits_per_s: float
    client_cpu_s_per_1000: float
    database_cpu_s_per_1000: float | None


@dataclass
class Results:
    """A whole run; `about` contains date, command, machine, versions and settings."""

    about: dict[str, Any]
    samples: list[Sample] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    probes: list[ProbeSample] = field(default_factory=list)
    sizes: list[dict[str, Any]] = field(default_factory=list)
    python_api: list[dict[str, Any]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Results:
        stored = json.loads(path.read_text())
        return cls(
            about=stored["about"],
            samples=[Sample(**row) for row in stored["samples"]],
            starts=[Start(**row) for row in stored["starts"]],
            probes=[ProbeSample(**row) for row in stored["probes"]],
            sizes=stored["sizes"],
            python_api=stored["python_api"],
        )

    def databases(self) -> list[str]:
        started = [row.database for row in self.starts]
        return list(dict.fromkeys(started + [row.database for row in self.samples]))

    def servers(self, database: str) -> list[str]:
        """The servers in the order of the run, including those that did not start."""
        seen = {row.server for row in self.samples if row.database == database}
        seen |= {row.server for row in self.starts if row.database == database}
        order = list(self.about.get("servers", {}))
        return sorted(seen, key=lambda name: order.index(name) if name in order else len(order))

    def cases(self, database: str) -> list[str]:
        return list(dict.fromkeys(row.case for row in self.samples if row.database == database))

    def of(self, database: str, case: str, server: str) -> list[Sample]:
        wanted = (database, case, server)
        return [row for row in self.samples if (row.database, row.case, row.server) == wanted]

    def error(self, database: str, case: str, server: str) -> str:
        """The reason why the case failed: half of its rounds did, or one round of headrace."""
        rows = self.of(database, case, server)
        errors = [row.error for row in rows if row.error]
        failed = errors and (server == OURS or 2 * len(errors) >= len(rows))
        return errors[0] if failed else ""

    def failed_rounds(self, database: str, case: str, server: str) -> int:
        return sum(1 for row in self.of(database, case, server) if row.error)

    def values(
        self, database: str, case: str, server: str, value: Callable[[Sample], float | None]
    ) -> list[float]:
        """One value for each round without failures; no values if the case failed."""
        if self.error(database, case, server):
            return []
        rows = (row for row in self.of(database, case, server) if not row.error)
        return [found for row in rows if (found := value(row)) is not None]

    def median(self, database: str, case: str, server: str, field_name: str) -> float | None:
        found = self.values(database, case, server, lambda row: getattr(row, field_name))
        return figures.median(found)

    def kinds_ms(self, database: str, case: str, server: str, name: str) -> dict[str, float]:
        """The median over the rounds of one latency (`p50_ms` …) of each kind of request."""
        if self.error(database, case, server):
            return {}
        good = [row for row in self.of(database, case, server) if not row.error]
        kinds = dict.fromkeys(kind for row in good for kind in row.kinds)
        medians = {
            kind: figures.median([row.kinds[kind][name] for row in good if kind in row.kinds])
            for kind in kinds
        }
        return {kind: value for kind, value in medians.items() if value is not None}

    def shape_rows_per_s(self, database: str, case: str, shape: str) -> float | None:
        """The median of the raw-database probe for the fastest shape with this prefix."""
        rows = [row for row in self.probes if (row.database, row.case) == (database, case)]
        names = dict.fromkeys(row.shape for row in rows if row.shape.startswith(shape))
        medians = [figures.median([r.rows_per_s for r in rows if r.shape == n]) for n in names]
        return max((value for value in medians if value is not None), default=None)

    def limit_rows_per_s(self, database: str, case: str) -> tuple[float, str] | None:
        """The fastest shape of the raw-database probe, by its median over the rounds."""
        rows = [row for row in self.probes if (row.database, row.case) == (database, case)]
        best: tuple[float, str] | None = None
        for shape in dict.fromkeys(row.shape for row in rows):
            middle = figures.median([row.rows_per_s for row in rows if row.shape == shape])
            if middle is not None and (best is None or middle > best[0]):
                best = (middle, shape)
        return best
