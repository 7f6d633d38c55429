"""The results page: Markdown tables with medians, spread and ratios, and charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import figures, goals
from benchmarks.cases import BY_NAME, LISTS
from benchmarks.charts import Group, Measure, bar_chart, short
from benchmarks.results import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benchmarks.results import Results

HEADLINE: Final = ("log-batch-10", "log-batch-10-own", "create-run", "get-run", "search-runs-1k")

# Cases of older results that no longer exist.
OLD_TITLES: Final = {"search-runs-1k-varied": "search 100 of 1,000 runs, no two alike"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    line = "|".join(["---"] + ["---:"] * (len(head) - 1))
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"| {' | '.join(head)} |\n|{line}|\n{body}\n"


def _title(case: str) -> str:
    return BY_NAME[case].title if case in BY_NAME else OLD_TITLES.get(case, case)


def _server(results: Results, name: str) -> str:
    return str(results.about["servers"].get(name, {}).get("title", name))


def _times(value: float | None) -> str:
    if value is None:
        return "-"
    text = f"{value:.1f}x" if value < 100 else f"{value:,.0f}x"
    return text if value >= 1 else f"**{text}** (slower)"


def _figure(value: float | None, form: str = "{:,.1f}") -> str:
    return "-" if value is None else form.format(value)


def _rate(results: Results, database: str, case: str, server: str) -> str:
    if not results.of(database, case, server):
        return "-"
    if results.error(database, case, server):
        return "failed"
    rates = results.values(database, case, server, lambda row: row.requests_per_s)
    middle, apart = figures.median(rates), figures.spread(rates)
    if middle is None:
        return "-"
    text = short(middle) + (f" ±{apart / 2:.0%}" if apart is not None and len(rates) > 1 else "")
    lost = results.failed_rounds(database, case, server)
    return f"{text} ({lost} of {lost + len(rates)} rounds failed)" if lost else text


def throughput(results: Results, database: str) -> str:
    servers = results.servers(database)
    head = ["requests/s", *(_server(results, s) for s in servers)]
    head += ["against stock", "against the best peer", "of the limit"]
    rows = []
    for case in results.cases(database):
        ours = results.median(database, case, OURS, "requests_per_s")
        stock = results.median(database, case, goals.STOCK, "requests_per_s")
        peer = goals.best_peer(results, database, case, "requests_per_s")
        share = goals.share_of_limit(results, database, case)
        row = [_title(case), *(_rate(results, database, case, s) for s in servers)]
        row += [_times(figures.ratio(ours, stock)), _times(figures.ratio(ours, peer))]
        rows.append([*row, _figure(share, "{:.0%}")])
    return table(head, rows)


def latency(results: Results, database: str) -> str:
    servers = results.servers(database)
    head = ["p50 / p95 / p99, ms", *(_server(results, s) for s in servers)]

    def cell(case: str, server: str) -> str:
        found = [results.median(database, case, server, f"{p}_ms") for p in ("p50", "p95", "p99")]
        return "-" if None in found else " / ".join(short(v) for v in found if v is not None)

    return table(
        head,
        ([_title(c), *(cell(c, s) for s in servers)] for c in results.cases(database)),
    )


def cpu(results: Results, database: str) -> str:
    servers = results.servers(database)
    head = ["CPU s per 1,000 requests", *(_server(results, s) for s in servers)]

    def cell(case: str, server: str) -> str:
        names = ("server_cpu_s", "database_cpu_s", "client_cpu_s")
        found = [results.median(database, case, server, name) for name in names]
        return " / ".join(_figure(value, "{:.2f}") for value in found)

    rows = ([_title(c), *(cell(c, s) for s in servers)] for c in results.cases(database))
    return "Server / database / load generator.\n\n" + table(head, rows)


def probes(results: Results, database: str) -> str:
    head = ["raw database, rows/s", "shape", "rows/s", "requests/s", "commits/s"]
    head += ["database CPU s per 1,000 requests"]
    rows = []
    found = [row for row in results.probes if row.database == database]
    for case, shape in dict.fromkeys((row.case, row.shape) for row in found):
        same = [row for row in found if (row.case, row.shape) == (case, shape)]
        rate, requests, commits = (
            figures.median([getattr(row, name) for row in same])
            for name in ("rows_per_s", "requests_per_s", "commits_per_s")
        )
        spent = [row.database_cpu_s_per_1000 for row in same]
        database_cpu = figures.median([value for value in spent if value is not None])
        numbers = [_figure(value, "{:,.0f}") for value in (rate, requests, commits)]
        rows.append([_title(case), shape, *numbers, _figure(database_cpu, "{:.2f}")])
    return table(head, rows) if rows else ""


def processes(results: Results, database: str) -> str:
    head = ["", "ready, empty database, s", "ready, existing database, s", "idle RSS, MiB"]
    head += ["idle PSS, MiB", "peak RSS under load, MiB", "processes"]
    rows = []
    for server in results.servers(database):
        starts = [r for r in results.starts if (r.database, r.server) == (database, server)]
        pss = figures.median([r.idle_pss_mib for r in starts if r.idle_pss_mib is not None])
        count = figures.median([float(r.processes) for r in starts if r.processes is not None])
        rows.append(
            [
                _server(results, server),
                _figure(goals.ready_s(results, database, server, empty=True), "{:.2f}"),
                _figure(goals.ready_s(results, database, server), "{:.2f}"),
                _figure(goals.idle_mib(results, database, server)),
                _figure(pss),
                _figure(goals.loaded_mib(results, database, server)),
                _figure(count, "{:.0f}"),
            ]
        )
    return table(head, rows)


def sizes(results: Results) -> str:
    head = [
        "",
        "version",
        "packages",
        "on disk, MiB",
        "files",
        "import of",
        "ms",
        "server's import",
        "ms",
    ]
    rows = (
        [
            _server(results, row["name"]),
            row["version"],
            str(row["packages"]),
            _figure(row["install_mib"]),
            f"{row['files']:,}",
            f"`{row['client_import']}`" if row["client_import"] else "-",
            _figure(row["client_import_ms"], "{:,.0f}"),
            f"`{row['server_import']}`" if row["server_import"] else "-",
            _figure(row["server_import_ms"], "{:,.0f}"),
        ]
        for row in results.sizes
    )
    return table(head, rows)


def limits(results: Results, database: str) -> str:
    """Compare the writing cases with the limits of the machine."""
    head = ["share of the limit", "raw database, each request separately", "raw database, grouped"]
    head += ["null server", "generator and database, no server"]
    rows = []
    for case in results.cases(database):
        ours = results.median(database, case, OURS, "requests_per_s")
        if ours is None or case not in BY_NAME or BY_NAME[case].writes is None:
            continue
        null = results.median(database, case, "null", "requests_per_s")
        shares = [
            goals.share_of_shape(results, database, case, "each"),
            goals.share_of_shape(results, database, case, "grouped"),
            figures.ratio(ours, null),
            figures.ratio(ours, goals.combined_limit(results, database, case)),
        ]
        rows.append([_title(case), *(_figure(share, "{:.0%}") for share in shares)])
    return table(head, rows) if rows else ""


def mixes(results: Results, database: str) -> str:
    """The two kinds of requests of the realistic mix, separately."""
    case = "realistic-mix"
    rows = []
    for server in results.servers(database):
        good = [r for r in results.of(database, case, server) if not r.error and "log" in r.kinds]
        if not good:
            continue

        def middle(kind: str, name: str, good: list = good) -> float | None:  # type: ignore[type-arg]
            return figures.median([r.kinds[kind][name] for r in good if name in r.kinds[kind]])

        logs = figures.median([r.kinds["log"].get("requests", 0) / r.seconds for r in good])
        cells = [_figure(logs)]
        for kind in ("log", "read"):
            cells += [_figure(middle(kind, "p50_ms")), _figure(middle(kind, "p99_ms"))]
        rows.append([_server(results, server), *cells])
    head = [
        "realistic mix",
        "log-batch/s",
        "log p50, ms",
        "log p99, ms",
        "read p50, ms",
        "read p99, ms",
    ]
    return table(head, rows) if rows else ""


def lists(results: Results, database: str) -> str:
    """Each list of the page, with one user."""
    found = {
        server: [results.kinds_ms(database, LISTS, server, name) for name in ("p50_ms", "p99_ms")]
        for server in results.servers(database)
    }
    servers = [server for server, (middle, _) in found.items() if middle]
    if not servers:
        return ""
    rows = [
        [kind, *(_figure(ms.get(kind)) for server in servers for ms in found[server])]
        for kind in found[servers[0]][0]
    ]
    head = [f"{_server(results, s)} {p}, ms" for s in servers for p in ("p50", "p99")]
    return table(["a page's list, 1 user", *head], rows)


def python_api(results: Results, database: str) -> str:
    """MLflow's own store and the plugin, both in the client's process."""
    if not any(row["database"] == database for row in results.python_api):
        return ""
    stock, ours = (goals.api_ms(results, database, s) for s in (goals.STOCK, OURS))
    head = ["Python API, ms per call", "MLflow's store", "headrace's store", "against stock"]
    times = _times(figures.ratio(stock, ours))
    row = ["log_batch of 10 metrics", _figure(stock, "{:.2f}"), _figure(ours, "{:.2f}"), times]
    return table(head, [row])


def goal_table(results: Results) -> str:
    words = {True: "yes", False: "**no**", None: "-"}
    rows = (
        [v.what, v.against, v.wanted, v.found, words[v.reached]] for v in goals.verdicts(results)
    )
    return table(["goal", "against", "wanted", "found", "reached"], rows)


def failures(results: Results) -> str:
    lines = []
    for row in results.samples:
        if row.error:
            where = f"{row.database}, {_server(results, row.server)}, {_title(row.case)}"
            share = f"{row.failures} of {row.requests} answers were wrong"
            lines.append(f"- {where}, round {row.round}: {share}: `{row.error}`")
    for start in results.starts:
        if start.error:
            last = start.error.strip().splitlines()[-1]
            lines.append(f"- {start.database}, {_server(results, start.server)}: `{last}`")
    return "\n".join(lines) + "\n" if lines else ""


def _bars(results: Results, database: str, case: str, field: str, unit: str) -> list[Measure]:
    """One bar per server that keeps data."""
    bars = []
    ours = results.median(database, case, OURS, field)
    for server in results.servers(database):
        if server == "null":
            continue
        value = results.median(database, case, server, field)
        missing = "failed" if results.error(database, case, server) else "-"
        text = missing if value is None else f"{short(value)}{unit}"
        times = figures.ratio(ours, value) if server != OURS else None
        if times is not None and field == "requests_per_s":
            text += f" · headrace {times:.1f}x"
        bars.append(Measure(server, _server(results, server), value, text))
    return bars


def _limit_bar(results: Results, database: str, case: str) -> list[Measure]:
    """The limit: the database without a server, or the server that does nothing."""
    writes = BY_NAME[case].writes if case in BY_NAME else None
    if writes is None:
        rate = results.median(database, case, "null", "requests_per_s")
        label = "no work at all"
    else:
        raw = results.limit_rows_per_s(database, case)
        rate = raw[0] / writes.rows if raw else None
        label = "no server"
    return [] if rate is None else [Measure("probe", label, rate, f"{short(rate)}/s · the limit")]


def _rate_groups(results: Results, database: str, cases: Iterable[str]) -> list[Group]:
    groups = []
    for case in cases:
        bars = _bars(results, database, case, "requests_per_s", "/s")
        groups.append(Group(_title(case), (*bars, *_limit_bar(results, database, case))))
    return groups


def charts(results: Results) -> dict[str, str]:
    """Return the charts, as file name to SVG."""
    made = {}
    cores = results.about["machine"]["cores"]
    for database in results.databases():
        cases = results.cases(database)
        if not cases:
            continue
        headline = [case for case in HEADLINE if case in cases] or cases[:1]
        slow = [
            Group(_title(c), tuple(_bars(results, database, c, "p99_ms", " ms"))) for c in cases
        ]
        note = f"{database}, {cores} cores"
        rates = f"requests per second, more is better · {note}"
        made[f"{database}-headline.svg"] = bar_chart(
            "headrace and its peers", rates, _rate_groups(results, database, headline)
        )
        made[f"{database}-requests.svg"] = bar_chart(
            "Requests per second", rates, _rate_groups(results, database, cases)
        )
        made[f"{database}-p99.svg"] = bar_chart(
            "p99 latency under load", f"less is better · {note}", slow
        )
        made[f"{database}-memory.svg"] = _memory_chart(results, database)
    return made


def _memory_chart(results: Results, database: str) -> str:
    kinds = (("idle", goals.idle_mib), ("most under load", goals.loaded_mib))
    groups = []
    for title, value_of in kinds:
        bars = []
        for server in results.servers(database):
            if server != "null":
                value = value_of(results, database, server)
                text = "-" if value is None else f"{short(value)} MiB"
                bars.append(Measure(server, _server(results, server), value, text))
        groups.append(Group(title, tuple(bars)))
    return bar_chart("Resident memory of all processes", f"less is better · {database}", groups)


def _about(results: Results) -> str:
    about = results.about
    lines = [f"- {name}: {value}" for name, value in about["machine"].items()]
    lines += [f"- {name} {value}" for name, value in about["versions"].items()]
    lines += [f"- {name}: {value}" for name, value in about["databases"].items()]
    for server in about["servers"].values():
        if server["version"]:
            lines.append(f"- {server['title']} {server['version']}")
    lines.append(f"- null server {about['null_server']}")
    lines += [f"- {name}: {value}" for name, value in about["settings"].items()]
    return "\n".join(lines) + "\n"


def markdown(results: Results, notes: str = "") -> str:
    """Return the page; `notes` is a handwritten comment on the results."""
    about = results.about
    parts = [f"# Benchmark of {about['date']}\n", f"`{about['command']}`\n"]
    if about.get("broken_off"):
        parts.append("This run was interrupted; some rounds are missing.\n")
    for database in results.databases():
        parts.append(f"## {database}\n")
        if results.cases(database):
            parts += [f"![requests per second]({database}-headline.svg)\n"]
            parts += [throughput(results, database), latency(results, database)]
            parts += [mixes(results, database), lists(results, database), cpu(results, database)]
            parts += [limits(results, database), probes(results, database)]
            parts += [f"![{n}]({database}-{n}.svg)\n" for n in ("requests", "p99")]
        parts += [python_api(results, database)]
        parts += [processes(results, database), f"![memory]({database}-memory.svg)\n"]
    if results.sizes:
        parts += ["## Size\n", sizes(results)]
    parts += ["## Goals\n", goal_table(results), notes]
    if failed := failures(results):
        parts += ["## Failures\n", failed]
    parts += ["## Method\n", _about(results)]
    return "\n".join(part for part in parts if part)


def write(results: Results, folder: Path) -> None:
    """Write results.json, README.md and the charts; `notes.md`, if it exists, joins the page."""
    folder.mkdir(parents=True, exist_ok=True)
    results.write(folder / "results.json")
    notes = folder / "notes.md"
    text = notes.read_text() if notes.exists() else ""
    (folder / "README.md").write_text(markdown(results, text))
    for name, svg in charts(results).items():
        (folder / name).write_text(svg)
