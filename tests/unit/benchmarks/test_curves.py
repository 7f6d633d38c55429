"""The rows of the curves, their results and their charts."""

from __future__ import annotations

import json
import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks import catalog_seeds, curve_seeds, curves, machine
from benchmarks.cases import BROAD
from benchmarks.curves import TITLES, charts, keep, table
from benchmarks.seeds import Dialect, Needs
from tests.unit.benchmarks.test_cases import prepare

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 2_000


@pytest.fixture(autouse=True)
def k6(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of developers has no k6, which the group `bench` installs."""
    monkeypatch.setattr(machine, "k6_version", lambda: "k6 v2.0.0")


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """MLflow's own tables with the rows of a curve."""
    path = tmp_path / "curve.db"
    prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        for text in curve_seeds.statements(Dialect(postgres=False), ROWS, frozenset(Needs)):
            connection.execute(text)
        connection.commit()
    return path


def _count(path: Path, text: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(text).fetchone()[0])


@pytest.mark.slow
def test_each_table_has_the_rows_and_the_searches_find_a_page(filled: Path) -> None:
    runs = "SELECT count(*) FROM runs"
    assert _count(filled, runs) == ROWS
    few = f"{runs} WHERE experiment_id = {curve_seeds.FEW_EXPERIMENT}"
    assert _count(filled, few) == curve_seeds.FEW
    assert BROAD == "metrics.loss < 0.9 and params.optimizer = 'adam'"
    for experiment in (curve_seeds.FEW_EXPERIMENT, curve_seeds.ALL_EXPERIMENT):
        found = (
            f"{runs} r WHERE experiment_id = {experiment} AND EXISTS (SELECT 1 FROM latest_metrics m"
            " WHERE m.run_uuid = r.run_uuid AND m.key = 'loss' AND m.value < 0.9) AND EXISTS (SELECT 1"
            " FROM params p WHERE p.run_uuid = r.run_uuid AND p.key = 'optimizer' AND p.value = 'adam')"
        )
        assert _count(filled, found) > 300
    listed = f"WHERE name LIKE '{curve_seeds.LISTED_PREFIX}%'"
    assert _count(filled, f"SELECT count(*) FROM experiments {listed}") == ROWS
    for name in ("registered_models", "model_versions"):
        assert _count(filled, f"SELECT count(*) FROM {name}") == ROWS
    logged = f"WHERE experiment_id = {catalog_seeds.LOGGED_EXPERIMENT}"
    assert _count(filled, f"SELECT count(*) FROM logged_models {logged}") == ROWS


def _sample(server: str, rows: int, rate: float, **more: Any) -> dict[str, Any]:
    found = {"database": "postgresql", "rows": rows, "server": server, "case": "newest"}
    costs = {"server_cpu_s": 300 / rate, "database_cpu_s": 900 / rate}
    return found | {"requests_per_s": rate, "error": "", "date": "2026-11-29"} | costs | more


def test_a_new_sample_replaces_the_old_one_of_its_point(tmp_path: Path) -> None:
    path = tmp_path / "curves.json"
    keep([_sample("headrace", 1_000, 10.0), _sample("headrace", 10_000, 9.0)], path)
    keep([_sample("headrace", 1_000, 20.0)], path)
    rates = [row["requests_per_s"] for row in json.loads(path.read_text())["samples"]]
    assert rates == [20.0, 9.0]


def test_the_chart_and_the_table_have_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "curves.json"
    rates = {"headrace": 600.0, "mlflow": 10.0, "mlflow-go": 20.0, "fasttrackml": 40.0}
    rows = [_sample(server, 1_000, rate) for server, rate in rates.items()]
    rows.append(_sample("headrace", 1_000_000, 300.0))
    rows.append(_sample("mlflow", 1_000_000, 0.1, error="wrong answer"))
    keep(rows, path)
    found = charts(path)
    assert list(found) == ["curves-postgresql.svg"], "SQLite was not measured"
    chart = found["curves-postgresql.svg"]
    ET.fromstring(chart)
    assert TITLES["newest"] in chart
    assert "headrace: 4.00 ms at 1,000,000 rows" in chart
    assert "MLflow: 12,000 ms" not in chart, "a failed case has no point"
    assert "| 1,000 | 2.00 | 60.0x | 15.0x |" in table(path)
    assert "| 1,000,000 | 4.00 |  |  |" in table(path)


def test_every_case_has_a_title() -> None:
    assert [case.name for case in curves.cases(1_000)] == list(TITLES)
