"""The case table, the k6 scripts and the seeds agree with each other."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from benchmarks import seeds, trace_seeds
from benchmarks.answers import write_answers
from benchmarks.cases import BY_NAME, CASES, Case, Target, Writes, chosen
from benchmarks.load import SCRIPTS, complaint
from benchmarks.probe import Rows, postgres_statement, tables_of
from benchmarks.seeds import Dialect, Seed

from headrace.db.open import open_database
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT_FILES = sorted(SCRIPTS.glob("k6*.js"))
# Set for every script by the runner, or meant for those who run a script by hand.
BY_HAND = {"MLFLOW_TRACKING_URI", "SUMMARY", "EXPERIMENT_NAME", "RUNS", "PAUSE_MS", "METRIC"}
BY_HAND |= {"MAX_RESULTS", "ORDER_BY", "METRICS", "PARAMS", "TAGS"}
BY_HAND |= {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}


def _sources(script: str) -> str:
    """The text of a script and of the modules it imports."""
    seen: list[Path] = []
    todo = [SCRIPTS / script]
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.append(path)
            todo += [
                path.parent / name for name in re.findall(r'from "(\./[^"]+)"', path.read_text())
            ]
    return "\n".join(path.read_text() for path in seen)


def _variables(source: str) -> set[str]:
    return set(re.findall(r"__ENV\.(\w+)", source)) | set(re.findall(r'size\("(\w+)"', source))


def test_every_script_is_used_by_a_case_and_every_case_has_a_script() -> None:
    assert {case.script for case in CASES} == {path.name for path in SCRIPT_FILES}


def test_case_names_are_unique() -> None:
    assert len(BY_NAME) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_script_reads_every_variable_that_its_case_sets(case: Case) -> None:
    known = _variables(_sources(case.script))
    assert set(case.environment(warmup=False, null=False)) <= known


@pytest.mark.parametrize("path", SCRIPT_FILES, ids=lambda path: path.name)
def test_every_variable_of_a_script_is_set(path: Path) -> None:
    cases = [case for case in CASES if case.script == path.name]
    set_by_cases = {name for c in cases for name in c.environment(warmup=False, null=False)}
    # RUNS and POINTS make a script's own data where the runner gives seeded data instead.
    assert _variables(path.read_text()) <= set_by_cases | BY_HAND | {"POINTS"}


@pytest.mark.parametrize("path", SCRIPT_FILES, ids=lambda path: path.name)
def test_every_script_reports_through_the_shared_summary_and_its_threshold(path: Path) -> None:
    assert 'export { handleSummary, options } from "./k6/measure.js";' in path.read_text()
    assert re.search(r"\b(measured|logBatch|poolScript)\(", path.read_text())


@pytest.mark.parametrize(
    "script", ["k6SearchRunsPerfScript.js", "k6SearchExperimentsPerfScript.js"]
)
def test_no_two_searches_are_alike_except_in_a_case_named_so(script: str) -> None:
    assert "exec.scenario.iterationInTest" in (SCRIPTS / script).read_text()
    for case in CASES:
        if case.script == script:
            assert case.name.endswith("-alike") == ("ALIKE" in case.env), case.name


def test_the_published_script_logs_ten_metrics_by_default() -> None:
    source = (SCRIPTS / "k6LogBatchPerfScript.js").read_text()
    assert "sizes({ metrics: 10 })" in source


def test_pool_segments_do_not_overlap() -> None:
    segments = [case.pool_segment for case in CASES if case.pool_segment is not None]
    assert sorted(segments) == list(range(seeds.POOL_SEGMENTS))
    ends = [sum(seeds.pool_segment(segment)) for segment in sorted(segments)]
    starts = [seeds.pool_segment(segment)[0] for segment in sorted(segments)]
    assert starts == [seeds.POOL_WARMUP_RUNS, *ends[:-1]]
    assert ends[-1] == seeds.POOL_RUNS


def test_cases_are_chosen_by_name_and_by_prefix_in_table_order() -> None:
    assert [c.name for c in chosen(["log-params-*", "get-run"])] == [
        "get-run",
        "log-params-10",
        "log-params-100",
    ]
    assert all(case.quick for case in chosen(None, quick=True))
    with pytest.raises(ValueError, match="no case 'nonsense'"):
        chosen(["nonsense"])


TABLES = """
    CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name UNIQUE, artifact_location,
        lifecycle_stage, creation_time, last_update_time);
    CREATE TABLE runs (run_uuid PRIMARY KEY, name, source_type, source_name, entry_point_name,
        user_id, status, start_time, source_version, lifecycle_stage, artifact_uri, experiment_id);
    CREATE TABLE tags (key, value, run_uuid, PRIMARY KEY (key, run_uuid));
    CREATE TABLE params (key, value, run_uuid, PRIMARY KEY (key, run_uuid));
    CREATE TABLE metrics (key, value, timestamp, run_uuid, step, is_nan,
        PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));
    CREATE TABLE latest_metrics (key, value, timestamp, step, is_nan, run_uuid,
        PRIMARY KEY (key, run_uuid));
"""


@pytest.fixture
def seeded(tmp_path: Path) -> Path:
    path = tmp_path / "seeded.db"
    parts = frozenset({Seed.SMALL_RUNS, Seed.EXPERIMENTS, Seed.HISTORY})
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES)
        for text in seeds.statements(parts, Dialect(postgres=False)):
            connection.execute(text)
        connection.commit()
    return path


def _count(path: Path, text: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(text).fetchone()[0])


def test_seeded_runs_have_the_items_that_the_get_run_script_counts(seeded: Path) -> None:
    run = seeds.run_id(seeds.SMALL_SET, 17)
    items = [_count(seeded, f"SELECT count(*) FROM {t} WHERE run_uuid = '{run}'")
             for t in ("latest_metrics", "params", "tags")]  # fmt: skip
    assert items == [seeds.METRICS_PER_RUN, seeds.PARAMS_PER_RUN, 5]
    assert sum(items) >= int(re.findall(r"ITEMS = (\d+)", _sources("k6GetRunPerfScript.js"))[0])


def test_both_filters_find_at_least_a_page_and_the_selective_one_exactly_a_page(
    seeded: Path,
) -> None:
    loss = "SELECT run_uuid FROM latest_metrics WHERE key = 'loss' AND value <"
    broad = f"""SELECT count(*) FROM params WHERE key = 'optimizer' AND value = 'adam'
        AND run_uuid IN ({loss} 0.9)"""
    selective = f"""SELECT count(*) FROM params WHERE key = 'group' AND value = 'g3'
        AND run_uuid IN ({loss} 2)"""
    assert _count(seeded, broad) > 300
    assert _count(seeded, selective) == 100


def test_the_seeded_history_is_as_long_as_its_case_expects(seeded: Path) -> None:
    where = f"run_uuid = '{seeds.HISTORY_RUN}' AND key = 'loss'"
    points = int(BY_NAME["history-10k"].env["POINTS"])
    assert _count(seeded, f"SELECT count(*) FROM metrics WHERE {where}") == points
    assert _count(seeded, f"SELECT step FROM latest_metrics WHERE {where}") == points - 1


@pytest.mark.slow
def test_the_seeded_traces_are_those_that_the_searches_expect(tmp_path: Path) -> None:
    """On MLflow's own tables: all are of one experiment, every tenth has the tag."""
    path = tmp_path / "traces.db"
    prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        for text in seeds.statements(frozenset({Seed.TRACES}), Dialect(postgres=False)):
            connection.execute(text)
        connection.commit()
    spans = f"SELECT count(*) FROM spans WHERE trace_id = '{trace_seeds.trace_id(17)}'"
    assert _count(path, spans) == trace_seeds.SPANS_PER_TRACE
    tagged = f"SELECT count(*) FROM trace_tags WHERE key = '{trace_seeds.TAG}' AND value = 'prod'"
    assert _count(path, tagged) == trace_seeds.TRACES // 10
    session = "SELECT count(*) FROM trace_info WHERE session_id = 'session-77'"
    assert _count(path, session) == trace_seeds.TRACES_PER_SESSION
    named = "SELECT count(DISTINCT trace_id) FROM spans WHERE name = 'step 3'"
    assert _count(path, named) == trace_seeds.TRACES
    many = trace_seeds.many_statements(Dialect(postgres=False))
    names = f"SELECT count(*) FROM spans WHERE name = '{trace_seeds.SELDOM}' AND type = 'TOOL'"
    with closing(sqlite3.connect(path)) as connection:
        for text in many:
            connection.execute(text.replace(f"i < {trace_seeds.MANY_TRACES - 1}", "i < 4321"))
        connection.commit()
    assert _count(path, names) == 4321 // trace_seeds.SELDOM_EVERY + 1
    assert int(BY_NAME["search-many-traces-span"].env["FOUND"]) == 100
    rare = f"SELECT count(*) FROM spans WHERE content LIKE '%{trace_seeds.RARE_WORD}%'"
    assert _count(path, rare) == 2, "one span of each set of traces"


def prepare(path: Path) -> None:
    """Create MLflow's tables."""

    async def make() -> None:
        await (await open_database(Settings(backend_store_uri=f"sqlite:///{path}"))).close()

    asyncio.run(make())


def test_the_null_server_answers_what_the_scripts_expect(tmp_path: Path) -> None:
    write_answers(tmp_path)
    page = (tmp_path / "runs_search").read_text()
    assert page.count('"run_uuid"') == 100
    assert (tmp_path / "experiments_search").read_text().count(f'"{seeds.LISTED_PREFIX}') == 100
    history = (tmp_path / "metrics_get-history").read_text()
    assert history.count('"timestamp"') == seeds.HISTORY_POINTS
    run = json.loads((tmp_path / "runs_get").read_text())["run"]
    assert run["info"]["run_id"] == seeds.run_id(seeds.SMALL_SET, 0)


WRITING = [case.writes for case in CASES if case.writes is not None]


@pytest.mark.parametrize("writes", WRITING, ids=lambda w: f"{w.target.name}-{w.rows}")
def test_the_probe_writes_as_many_rows_as_the_requests_would(writes: Writes) -> None:
    users = 4
    tables = tables_of(writes)
    columns = Rows(writes, users).group(range(users))
    assert len(columns) == sum(len(table.columns) for table in tables)
    lengths: dict[str, int] = {}
    for table in tables:
        mine, columns = columns[: len(table.columns)], columns[len(table.columns) :]
        assert len({len(column) for column in mine}) == 1
        lengths[table.name] = len(mine[0])
    merged = 1 if writes.target is Target.SHARED_RUN else users
    expected = {
        "metrics": writes.metrics * users,
        "latest_metrics": writes.metrics * merged,
        "params": writes.params * users,
        "tags": writes.tags * users,
        "runs": users,
    }
    if writes.target is Target.NEW_RUNS:
        expected["tags"] = 3 * users
    assert lengths == {table.name: expected[table.name] for table in tables}


def test_groups_of_the_probe_never_repeat_a_row() -> None:
    rows = Rows(Writes(Target.SHARED_RUN, metrics=3), 2)
    points = set()
    for _ in range(5):
        columns = rows.group(range(2))[:6]
        points |= set(zip(*columns, strict=True))
    assert len(points) == 5 * 2 * 3


def test_the_probe_writes_all_tables_with_one_statement() -> None:
    text = postgres_statement(tables_of(Writes(Target.POOL, metrics=1, params=1, tags=1)))
    assert text.count("INSERT INTO") == 4
    assert text.startswith("WITH w0 AS (INSERT INTO metrics")
    assert "$18::text[]" in text
    assert "$19" not in text


def test_the_reason_of_a_failure_is_the_first_wrong_answer() -> None:
    log = (
        'time="…" level=warning msg="Request Failed" error="…"\n'
        'time="…" level=error msg="wrong answer to POST http://x: 500 {\\"a\\": 1}" source=console\n'
        'time="…" level=error msg="thresholds on metrics \'right_answers\' have been crossed"\n'
    )
    assert complaint(log) == 'wrong answer to POST http://x: 500 {"a": 1}'
    assert complaint("level=info msg=fine\n") == ""
