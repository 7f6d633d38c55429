"""The figures of README and docs, filled in from the results files: `python -m benchmarks figures`.

A page has them between two marks; the first names the block and the folder of results:

    <!-- figures: headline 2026-11-28-1935 -->
    <!-- figures: end -->

After a new measurement change the folder in the marks of all pages, then run the command.
"""

from __future__ import annotations

import json
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import curves, goals, report
from benchmarks.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = "benchmarks/results"
PAGES: Final = ("README.md", "docs/explanation/figures.md")
IMAGES: Final = "docs/images"
# Pictures of the site, which cannot show files outside docs.
PICTURES: Final = ("postgresql-headline.svg", "sqlite-headline.svg", "postgresql-memory.svg")
MARKED: Final = re.compile(
    r"(<!-- figures: ([\w-]+) ([\w-]+) -->\n).*?(<!-- figures: end -->)", re.DOTALL
)
SERVERS: Final = ("headrace", "mlflow", "mlflow-go", "fasttrackml")
# Until this date, all users of a search case sent the same search (see benchmarks/README.md).
SEARCHES_DIFFER: Final = "2026-11-29"
WRITES: Final = (
    ("log-batch of 10 metrics, one run", "postgresql", "log-batch-10"),
    ("log-batch of 10 metrics, a run per user", "postgresql", "log-batch-10-own"),
    ("log-batch of 50 tags, 50 params, 300 metrics", "postgresql", "log-batch-mixed"),
    ("create run", "postgresql", "create-run"),
    ("get run", "postgresql", "get-run"),
)
OLD_SEARCHES: Final = (
    ("search 100 of 1,000 runs, no two alike", "postgresql", "search-runs-1k-varied"),
    ("search 100 of 1,000 runs, all users alike*", "postgresql", "search-runs-1k"),
    ("search 100 of 100,000 runs, all users alike*", "postgresql", "search-runs-100k"),
)
SEARCHES: Final = (
    ("search 100 of 1,000 runs, no two alike", "postgresql", "search-runs-1k"),
    ("search 100 of 1,000 runs, all users alike", "postgresql", "search-runs-1k-alike"),
    ("search 100 of 100,000 runs, no two alike", "postgresql", "search-runs-100k"),
)
OTHERS: Final = (
    ("metric history of 10,000 points", "postgresql", "history-10k"),
    ("on SQLite: log-batch of 10 metrics, one run", "sqlite", "log-batch-10"),
)
TEN_METRICS: Final = "log_batch: 0 tags, 0 params, 10 metrics"


def main() -> None:
    """Write the figures into the pages, and copy the pictures of the site."""
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(name, page.read_text()))
    for name, text in pictures().items():
        (ROOT / name).write_text(text)


def filled(name: str, text: str) -> str:
    """Return the text of a page with current figures between its marks."""

    def block(mark: re.Match[str]) -> str:
        return f"{mark[1]}\n{BLOCKS[mark[2]](mark[3], name)}\n{mark[4]}"

    return MARKED.sub(block, text)


def pictures() -> dict[str, str]:
    """Return the pictures of the site, as path to SVG; their folder is that of the first mark."""
    text = (ROOT / PAGES[1]).read_text()
    mark = MARKED.search(text)
    assert mark is not None, f"{PAGES[1]} has no mark"
    folder = ROOT / FOLDER / mark[3]
    copied = {f"{IMAGES}/benchmark-{name}": (folder / name).read_text() for name in PICTURES}
    return copied | {f"{IMAGES}/{name}": svg for name, svg in curves.charts().items()}


def headline(folder: str, page: str) -> str:
    """The main cases of all servers, as a picture and a table."""
    results = _results(folder)
    cores, date = results.about["machine"]["cores"], results.about["date"][:10]
    is_readme = page == PAGES[0]
    picture = f"{FOLDER}/{folder}" if is_readme else "../images/benchmark"
    picture += "/" if is_readme else "-"
    source = (
        f"[{date}]({FOLDER}/{folder}/README.md)" if is_readme else f"{date}, `{FOLDER}/{folder}/`"
    )
    versions = (results.about["servers"][name] for name in SERVERS)
    titles = [f"{server['title']} {server['version']}".strip() for server in versions]
    text = (
        "Requests per second on PostgreSQL with 20 users; load generator, server and database share "
        f"{cores} cores ({source}, with the command to reproduce it and the cases where headrace loses; "
        "`make bench` measures all of it again):"
    )
    image = f"![requests per second of headrace and its peers]({picture}postgresql-headline.svg)"
    numbers = report.table(["", *titles], _headline_rows(results))
    write_path = "docs/decisions/write-path.md" if is_readme else "../decisions/write-path.md"
    footnote = _wrapped(_footnote(results, write_path))
    return "\n".join([image, "", _wrapped(text), "", numbers, footnote, ""])


def _cases(results: Results) -> list[tuple[str, str, str]]:
    searches = OLD_SEARCHES if results.about["date"] < SEARCHES_DIFFER else SEARCHES
    known = {name: results.cases(name) for name in results.databases()}
    rows = (*WRITES, *searches, *OTHERS)
    return [row for row in rows if row[2] in known.get(row[1], ())]


def _headline_rows(results: Results) -> list[list[str]]:
    rows = [
        [title, *(_rate(results, database, case, server) for server in SERVERS)]
        for title, database, case in _cases(results)
    ]
    memory = (goals.idle_mib(results, "postgresql", server) for server in SERVERS)
    ready = (goals.ready_s(results, "postgresql", server) for server in SERVERS)
    rows.append(["idle memory, MiB", *map(_short, memory)])
    rows.append(["ready, s", *map(_short, ready)])
    return rows


def _rate(results: Results, database: str, case: str, server: str) -> str:
    if results.error(database, case, server):
        return "fails"
    return _short(results.median(database, case, server, "requests_per_s"))


def _short(value: float | None) -> str:
    """Two or three digits are enough: 3,314, 58, 9.3."""
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def _footnote(results: Results, write_path: str) -> str:
    incomplete = [
        title.rstrip("*")
        for title, database, case in _cases(results)
        for server in SERVERS
        if results.failed_rounds(database, case, server)
        and not results.error(database, case, server)
    ]
    text = f"Median of {results.about['settings']['rounds']} rounds"
    if incomplete:
        text += f"; of fewer where a round of another server failed ({'; '.join(incomplete)})"
    if results.about["date"] < SEARCHES_DIFFER:
        text += ". \\* Measured when equal searches of many users still waited for each other, which they "
        text += f"[no longer do]({write_path})"
    return text + "."


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def tables(folder: str, _page: str) -> str:
    """Every case of both databases: rates, latencies, memory."""
    results = _results(folder)
    parts = []
    for database, title in (("postgresql", "PostgreSQL"), ("sqlite", "SQLite")):
        parts += [
            f"### {title}\n",
            f"![requests per second](../images/benchmark-{database}-headline.svg)\n",
            report.throughput(results, database),
            report.latency(results, database),
            report.processes(results, database),
        ]
    parts.append("![memory](../images/benchmark-postgresql-memory.svg)\n")
    return "\n".join(parts)


def short(folder: str, _page: str) -> str:
    """The cases of a short run on PostgreSQL: rates, latencies, processor time."""
    results = _results(folder)
    parts = [report.throughput, report.latency, report.cpu]
    return "\n".join(part(results, "postgresql") for part in parts)


def client(folder: str, page: str) -> str:
    """The mlflow client with headrace disabled and enabled, in one sentence."""
    place = ROOT / FOLDER / folder
    date = folder[:10]
    means = {file.stem: _means(file)[TEN_METRICS] for file in sorted(place.glob("*.json"))}
    source = f"[{date}]({FOLDER}/{folder}/README.md)" if page == PAGES[0] else date
    both = means["server-headrace-server-headrace-client"]
    stock = means["server-mlflow-server-mlflow-client"]
    text = (
        f"The Python API, on the same machine ({source}, `make bench-client`): `log_batch` of ten metrics "
        f"takes {_ms(means['sqlite-headrace'])} ms with `headrace.enable()` instead of "
        f"{_ms(means['sqlite-mlflow'])} on SQLite, and {_ms(means['postgresql-headrace'])} instead of "
        f"{_ms(means['postgresql-mlflow'])} on PostgreSQL. With headrace as client and server it takes "
        f"{_ms(both)} ms instead of {_ms(stock)}."
    )
    return _wrapped(text) + "\n"


def client_table(folder: str, _page: str) -> str:
    """The mlflow client with headrace disabled and enabled: all operations, in milliseconds."""
    place = ROOT / FOLDER / folder
    columns = {
        "SQLite, MLflow": "sqlite-mlflow",
        "SQLite, headrace": "sqlite-headrace",
        "PostgreSQL, MLflow": "postgresql-mlflow",
        "PostgreSQL, headrace": "postgresql-headrace",
        "MLflow's server and client": "server-mlflow-server-mlflow-client",
        "headrace's server and client": "server-headrace-server-headrace-client",
    }
    means = [_means(place / f"{stem}.json") for stem in columns.values()]
    rows = [[name, *(_ms(column[name]) for column in means)] for name in means[0]]
    return report.table([f"ms, {folder[:10]}", *columns], rows)


def _ms(seconds: float) -> str:
    ms = seconds * 1000
    return f"{ms:,.0f}" if ms >= 9.95 else f"{ms:.1f}" if ms >= 0.995 else f"{ms:.2f}"


def over_rows(file: str, _page: str) -> str:
    """Searches in tables of 1,000 to 1,000,000 rows, as pictures and a table."""
    path = ROOT / FOLDER / f"{file}.json"
    images = [f"![{name}](../images/{name})" for name in curves.charts(path)]
    return "\n\n".join([*images, curves.table(path)])


@cache
def _results(folder: str) -> Results:
    return Results.read(ROOT / FOLDER / folder / "results.json")


def _means(file: Path) -> dict[str, float]:
    """Return the mean of each operation in a file of pyperf, in seconds."""
    suite = json.loads(file.read_text())
    found = {}
    for benchmark in suite["benchmarks"]:
        values = [value for run in benchmark["runs"] for value in run.get("values", ())]
        name = benchmark.get("metadata", {}).get("name") or suite["metadata"]["name"]
        found[name] = sum(values) / len(values)
    return found


BLOCKS: Final[dict[str, Callable[[str, str], str]]] = {
    "headline": headline,
    "tables": tables,
    "short": short,
    "client": client,
    "client-table": client_table,
    "over-rows": over_rows,
}
