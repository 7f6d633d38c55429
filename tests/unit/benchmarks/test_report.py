"""The results page: medians, ratios, failures, goals."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from benchmarks import goals, report
from benchmarks.charts import Group, Measure, bar_chart, short
from benchmarks.results import ProbeSample, Results, Sample, Start

if TYPE_CHECKING:
    from pathlib import Path

CASE = "log-batch-10"


def _sample(
    server: str, rate: float, number: int = 1, p99: float = 10.0, error: str = ""
) -> Sample:
    return Sample(
        database="postgresql",
        server=server,
        case=CASE,
        round=number,
        requests=1000,
        failures=0,
        seconds=1.0,
        requests_per_s=rate,
        p50_ms=p99 / 3,
        p95_ms=p99 / 2,
        p99_ms=p99,
        client_cpu_s=0.2,
        server_cpu_s=0.1,
        database_cpu_s=0.1,
        rss_mib=80.0,
        pss_mib=60.0,
        error=error,
    )


def _probe(shape: str, rows: float, number: int) -> ProbeSample:
    return ProbeSample("postgresql", CASE, number, shape, rows / 10, rows, rows / 200, 0.1, 0.2)


@pytest.fixture
def results() -> Results:
    names = ("headrace", "mlflow", "mlflow-go", "fasttrackml", "null")
    found = Results(
        {
            "date": "2026-01-01 00:00 UTC",
            "command": "python -m benchmarks run",
            "machine": {"cores": "2"},
            "versions": {"headrace": "abc"},
            "databases": {"postgresql": "PostgreSQL 16"},
            "servers": {name: {"title": name, "version": "1"} for name in names},
            "null_server": "written in C",
            "settings": {"rounds": 3},
        }
    )
    for number, (ours, stock) in enumerate(((2000, 100), (2400, 90), (2200, 110)), start=1):
        found.samples.append(_sample("headrace", ours, number, p99=20))
        found.samples.append(_sample("mlflow", stock, number, p99=400))
        found.samples.append(_sample("mlflow-go", 550, number, p99=30))
        error = "deadlock detected" if number != 2 else ""
        found.samples.append(_sample("fasttrackml", 5000, number, error=error))
        found.samples.append(_sample("null", 8000, number))
        found.starts.append(Start("postgresql", "headrace", number, 0.3, 40.0, 30.0, 1))
        found.starts.append(Start("postgresql", "mlflow", number, 12.0, 3000.0, 2000.0, 20))
        found.probes.append(_probe("each, 20 connections", 12_000, number))
        found.probes.append(_probe("grouped by 20, 1 connection", 25_000, number))
    return found


def test_medians_and_ratios_are_over_the_rounds(results: Results) -> None:
    row = next(
        line
        for line in report.throughput(results, "postgresql").splitlines()
        if "log-batch" in line
    )
    assert "2,200 ±9%" in row
    assert "100 ±10%" in row
    assert "22.0x" in row
    assert "4.0x" in row


def test_a_case_that_mostly_fails_has_failed_whatever_its_speed(results: Results) -> None:
    assert results.median("postgresql", CASE, "fasttrackml", "requests_per_s") is None
    assert goals.best_peer(results, "postgresql", CASE, "requests_per_s") == 550
    assert "| failed |" in report.throughput(results, "postgresql")
    assert "deadlock detected" in report.failures(results)


def test_rounds_beside_a_failed_one_count_and_the_table_says_so(results: Results) -> None:
    results.samples.append(_sample("mlflow-go", 9000, 4, error="500"))
    assert goals.best_peer(results, "postgresql", CASE, "requests_per_s") == 550
    assert "| 550 ±0% (1 of 4 rounds failed) |" in report.throughput(results, "postgresql")
    assert "mlflow-go" in report.failures(results)


def test_of_our_own_rounds_one_that_fails_is_enough(results: Results) -> None:
    results.samples.append(_sample("headrace", 9000, 4, error="500"))
    assert results.median("postgresql", CASE, "headrace", "requests_per_s") is None


def test_the_limit_of_a_write_is_the_raw_database(results: Results) -> None:
    assert results.limit_rows_per_s("postgresql", CASE) == (25_000, "grouped by 20, 1 connection")
    assert results.shape_rows_per_s("postgresql", CASE, "each") == 12_000


def test_goals_say_what_is_reached_and_what_is_not(results: Results) -> None:
    found = {(v.what, v.against): v for v in goals.verdicts(results)}
    title = "postgresql: log-batch of 10 metrics, shared run"
    assert found[title, "stock"].reached is True
    assert found[title, "best peer"].found == "4.0x"
    assert found[title, "raw database, each"].reached is True
    assert found[title, "raw database, grouped"].found == "88%"
    p99 = "postgresql: p99 of log-batch of 10 metrics, shared run"
    assert found[p99, "stock"].reached is True
    assert found[p99, "best peer"].reached is False
    assert found["postgresql: idle memory", "absolute"].reached is True


def test_a_slower_headrace_stands_out(results: Results) -> None:
    results.samples = [_sample("headrace", 50), _sample("mlflow", 100)]
    assert "**0.5x** (slower)" in report.throughput(results, "postgresql")


def test_results_are_the_same_after_writing_and_reading(results: Results, tmp_path: Path) -> None:
    report.write(results, tmp_path)
    again = Results.read(tmp_path / "results.json")
    assert again == results
    assert json.loads((tmp_path / "results.json").read_text())["about"]["settings"] == {"rounds": 3}


def test_the_page_shows_every_chart_that_is_written(results: Results, tmp_path: Path) -> None:
    report.write(results, tmp_path)
    page = (tmp_path / "README.md").read_text()
    charts = {path.name for path in tmp_path.glob("*.svg")}
    assert charts
    assert all(f"]({name})" in page for name in charts)
    for name in charts:
        ElementTree.parse(tmp_path / name)


def test_bars_are_as_long_as_their_values() -> None:
    bars = (Measure("headrace", "a", 50.0, "50"), Measure("mlflow", "b", 25.0, "25"))
    svg = ElementTree.fromstring(bar_chart("t", "s", [Group("", bars)]))
    widths = [float(r.attrib["width"]) for r in svg.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths[0] == pytest.approx(2 * widths[1])


def test_text_in_charts_is_escaped() -> None:
    svg = bar_chart("a < b", "s & t", [Group("<g>", (Measure("x", "<i>", None, "-"),))])
    assert ElementTree.fromstring(svg).findtext("{http://www.w3.org/2000/svg}title") == "a < b"


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (45.67, "45.7"), (1.234, "1.23")])
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert short(value) == text


def test_the_page_includes_the_handwritten_notes(results: Results, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("## Why\n\nBecause.\n")
    report.write(results, tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert page.index("## Goals") < page.index("## Why\n\nBecause.\n") < page.index("## Method")


def test_each_list_of_the_page_has_a_row_and_a_goal(results: Results) -> None:
    for server, ms in (("headrace", 1.5), ("mlflow", 30.0)):
        for number in (1, 2, 3):
            sample = replace(_sample(server, 100, number), case="page-lists")
            kinds = {"datasets": {"p50_ms": ms * number, "p99_ms": 9.0}}
            results.samples.append(replace(sample, kinds=kinds))
    assert "| datasets | 3.0 | 9.0 | 60.0 | 9.0 |" in report.lists(results, "postgresql")
    found = {v.what: v for v in goals.verdicts(results)}
    assert found["postgresql: p50 of the list of datasets"].reached is False
