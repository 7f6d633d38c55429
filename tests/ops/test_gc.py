"""`headrace gc` against `mlflow gc` on copies of one database: the same rows and artifacts remain."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.fix_postgres import fresh_database
from tests.fix_server import STOCK_ENVIRONMENT, base_environment, headrace, stock_uri
from tests.wire import Wire

from headrace.db.upkeep import garbage
from headrace.db.upkeep.access import opened
from headrace.upkeep.garbage import ANY_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LIMIT_S = 110
JSON = {"Content-Type": "application/json"}
API = "/api/2.0/mlflow/"
OLD_MS = 1_600_000_000_000
# The rows of an experiment besides its runs; {0} is its id.
EXPERIMENT_ROWS = (
    "INSERT INTO scorers VALUES ({0}, 's', 'scorer-{0}')",
    "INSERT INTO scorer_versions VALUES ('scorer-{0}', 1, '{{}}', 1)",
    "INSERT INTO online_scoring_configs VALUES ('c-{0}', 'scorer-{0}', 0.5, {0}, NULL)",
    "INSERT INTO issues (issue_id, experiment_id, name, description, status, created_timestamp,"
    " last_updated_timestamp) VALUES ('i-{0}', {0}, 'n', 'd', 'open', 1, 1)",
    "INSERT INTO label_schemas (schema_id, experiment_id, name, type, input_type, input_config,"
    " created_time, last_update_time) VALUES ('l-{0}', {0}, 'n', 't', 't', '{{}}', 1, 1)",
    "INSERT INTO review_queues (queue_id, experiment_id, name, queue_type, creation_time_ms,"
    " last_update_time_ms, name_key) VALUES ('q-{0}', {0}, 'n', 't', 1, 1, 'n')",
    "INSERT INTO review_queue_users VALUES ('q-{0}', 'u')",
    "INSERT INTO sql_trace_metric_daily_rollups (id, experiment_id, rollup_day, metric_name,"
    " grouping_set, sample_count) VALUES ({0}, {0}, '2026-01-01', 'm', 'g', 1)",
    "INSERT INTO sql_span_cost_daily_rollups (id, experiment_id, rollup_day, metric_name,"
    " grouping_set, sample_count) VALUES ({0}, {0}, '2026-01-01', 'm', 'g', 1)",
    "INSERT INTO sql_assessment_daily_rollups (id, experiment_id, rollup_day, metric_name,"
    " grouping_set, sample_count) VALUES ({0}, {0}, '2026-01-01', 'm', 'g', 1)",
    "INSERT INTO sql_trace_rollup_rebuild_queue VALUES ({0}, '2026-01-01', 'f')",
)
JOBS = (
    "INSERT INTO jobs (id, creation_time, job_name, params, status, retry_count, last_update_time)"
    " VALUES ('{0}-{1}', {2}, 'n', '{{}}', {1}, 0, 1)"
)
ENDED, RUNNING = 2, 1
# Options of one collection; {name} is an id from `populate`.
CASES = (
    (),
    ("--older-than", "30d"),
    ("--run-ids", "{run new}"),
    ("--run-ids", "{run new},{run old}", "--experiment-ids", "{old}"),
    ("--logged-model-ids", "{model old}", "--experiment-ids", "{new},{old}"),
    (
        *(
            "--run-ids",
            "{run old}",
            "--logged-model-ids",
            "{model old}",
            "--experiment-ids",
            "{old}",
        ),
        *("--older-than", "30.5d1h", "--jobs"),
    ),
    ("--jobs",),
    ("--job-ids", "old-2,new-2,old-1", "--older-than", "1d"),
)
STOCK = """
import json, sys
from mlflow.cli import cli
for arguments in json.load(sys.stdin):
    cli(arguments, standalone_mode=False)
"""
TRACE_ROWS = (
    "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES ('tr-{0}', {0}, 1, 'OK')",
    "INSERT INTO trace_tags (key, value, request_id) VALUES ('k', 'v', 'tr-{0}')",
    "INSERT INTO trace_request_metadata (key, value, request_id) VALUES ('k', 'v', 'tr-{0}')",
    "INSERT INTO spans (trace_id, experiment_id, span_id, parent_span_id, name, type, status,"
    " start_time_unix_nano, end_time_unix_nano, content)"
    " VALUES ('tr-{0}', {0}, 's', NULL, 'n', 't', 'OK', 1, 2, '{{}}')",
    "INSERT INTO trace_metrics VALUES ('tr-{0}', 'k', 1)",
    "INSERT INTO span_metrics VALUES ('tr-{0}', 's', 'k', 1)",
    "INSERT INTO assessments (assessment_id, trace_id, name, assessment_type, value,"
    " created_timestamp, last_updated_timestamp, source_type, valid)"
    " VALUES ('a-{0}', 'tr-{0}', 'n', 'feedback', '1', 1, 1, 'HUMAN', true)",
)


def rows(uri: str, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query on either database."""
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(uri).path[1:])) as connection:
            return connection.execute(sql).fetchall()
    with psycopg.connect(uri) as connection:
        return connection.execute(sql.encode()).fetchall()


def run_sql(uri: str, *statements: str) -> None:
    """Statements in one transaction."""
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(uri).path[1:])) as connection:
            for sql in statements:
                connection.execute(sql)
            connection.commit()
        return
    with psycopg.connect(uri) as connection:
        for sql in statements:
            connection.execute(sql.encode())


def dump(uri: str, directory: str = "/artifacts/") -> dict[str, list[str]]:
    """Every row of every table, as sorted text; `directory` becomes that of the first database."""
    if uri.startswith("sqlite"):
        names = rows(uri, "SELECT name FROM sqlite_master WHERE type = 'table'")
    else:
        names = rows(
            uri,
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )
    return {
        name: sorted(
            repr(row).replace(directory, "/artifacts/")
            for row in rows(uri, f'SELECT * FROM "{name}"')
        )
        for (name,) in names
    }


class Client:
    """Calls of the tracking API that must succeed."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def post(self, path: str, **body: object) -> Any:
        """The answer's JSON."""
        answer = self._wire.ask("POST", API + path, json.dumps(body).encode(), JSON)
        assert answer.status == 200, str(answer)
        return answer.json()

    def run(self, experiment_id: str, name: str) -> str:
        """A run with metrics, params, tags, an input, a model, and a file among its artifacts."""
        info = self.post("runs/create", experiment_id=experiment_id, run_name=name, start_time=1)
        run_id: str = info["run"]["info"]["run_id"]
        points = [
            {"key": key, "value": step, "timestamp": step, "step": step}
            for key in ("loss", "accuracy")
            for step in range(30)
        ]
        self.post(
            "runs/log-batch",
            run_id=run_id,
            metrics=points,
            params=[{"key": "p", "value": "1"}],
            tags=[{"key": "t", "value": "1"}],
        )
        dataset = {"name": f"d-{name}", "digest": "1", "source_type": "s", "source": "s"}
        self.post(
            "runs/log-inputs",
            run_id=run_id,
            datasets=[{"dataset": dataset, "tags": [{"key": "context", "value": "train"}]}],
        )
        uri = info["run"]["info"]["artifact_uri"]
        directory = Path(uri.removeprefix("file://"))
        directory.mkdir(parents=True)
        (directory / "model.bin").write_bytes(b"weights")
        return run_id

    def model(self, experiment_id: str, run_id: str) -> str:
        """A logged model with a param, a tag and a metric."""
        made = self.post(
            "logged-models",
            experiment_id=experiment_id,
            name="m",
            source_run_id=run_id,
            params=[{"key": "a", "value": "1"}],
            tags=[{"key": "b", "value": "2"}],
        )
        model_id: str = made["model"]["info"]["model_id"]
        point = {"key": "loss", "value": 1, "timestamp": 1, "step": 0, "model_id": model_id}
        self.post("runs/log-batch", run_id=run_id, metrics=[point])
        return model_id


def populate(uri: str, directory: Path) -> dict[str, str]:
    """Experiments, runs and models, alive and deleted, long ago (`old`) and just now (`new`)."""
    ids = {}
    with (
        headrace(
            uri,
            directory,
            "--no-serve-artifacts",
            "--default-artifact-root",
            f"{directory}/artifacts",
        ) as server,
        Wire(server.url) as wire,
    ):
        client = Client(wire)
        for name in ("kept", "old", "new"):
            experiment_id = client.post("experiments/create", name=name)["experiment_id"]
            client.post(
                "experiments/set-experiment-tag", experiment_id=experiment_id, key="k", value="v"
            )
            ids[name] = experiment_id
        for name in ("alive", "old", "new"):
            ids[f"run {name}"] = client.run(ids["kept"], name)
            ids[f"model {name}"] = client.model(ids["kept"], ids["run alive"])
        for name in ("old", "new"):
            run_id = client.run(ids[name], f"of {name}")
            client.model(ids[name], run_id)
            client.post("runs/delete", run_id=ids[f"run {name}"])
            answer = wire.ask("DELETE", f"{API}logged-models/{ids[f'model {name}']}", b"", JSON)
            assert answer.status == 200, str(answer)
            client.post("experiments/delete", experiment_id=ids[name])
    model_id = ids["model old"]
    run_sql(
        uri,
        f"UPDATE runs SET deleted_time = {OLD_MS} WHERE run_uuid = '{ids['run old']}'"
        f" OR experiment_id = {ids['old']}",
        f"UPDATE experiments SET last_update_time = {OLD_MS} WHERE experiment_id = {ids['old']}",
        f"UPDATE logged_models SET last_updated_timestamp_ms = {OLD_MS} WHERE model_id = '{model_id}'",
        *(
            sql.format(ids[name])
            for name in ("kept", "old", "new")
            for sql in (*TRACE_ROWS, *EXPERIMENT_ROWS)
        ),
        *(
            JOBS.format(age, status, time_ms)
            for age, time_ms in (("old", OLD_MS), ("new", 9 * OLD_MS))
            for status in (ENDED, RUNNING)
        ),
    )
    return ids


@pytest.fixture
def populated(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, dict[str, str]]]:
    """A database, and the ids of what is in it."""
    with ExitStack() as stack:
        uri = f"sqlite:///{tmp_path}/one.db"
        if database == "postgres":
            server = request.getfixturevalue("postgres_server")
            template = request.getfixturevalue("postgres_template")
            uri = stack.enter_context(fresh_database(server, template))
        ids = populate(uri, tmp_path)
        if database == "sqlite":
            with closing(sqlite3.connect(tmp_path / "one.db")) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield uri, ids


@pytest.fixture
def copies(
    populated: tuple[str, dict[str, str]], request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[str], str]]:
    """Makes a copy of the database, with artifacts of its own in a directory of the name given."""
    uri, _ = populated
    with ExitStack() as stack:

        def copy(name: str) -> str:
            copied = f"sqlite:///{tmp_path}/{name}.db"
            if uri.startswith("sqlite"):
                shutil.copy(tmp_path / "one.db", tmp_path / f"{name}.db")
            else:
                server = request.getfixturevalue("postgres_server")
                copied = stack.enter_context(fresh_database(server, urlsplit(uri).path[1:]))
            shutil.copytree(tmp_path / "artifacts", tmp_path / name)
            moved = f"replace({{0}}, '{tmp_path}/artifacts', '{tmp_path}/{name}')"
            run_sql(
                copied,
                *(
                    f"UPDATE {table} SET {column} = {moved.format(column)}"
                    for table, column in (
                        ("runs", "artifact_uri"),
                        ("experiments", "artifact_location"),
                        ("logged_models", "artifact_location"),
                    )
                ),
            )
            return copied

        yield copy


def ours(
    uri: str,
    *options: str,
    directory: Path | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """`headrace gc`."""
    return subprocess.run(
        [sys.executable, "-m", "headrace.commands.cli", "gc", uri, *options],
        cwd=directory,
        env=base_environment() | (environment or {}),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def stocks(calls: list[tuple[str, Sequence[str]]]) -> None:
    """`mlflow gc` on each database with its options, in one process because its start takes seconds."""
    arguments = [
        ["gc", "--backend-store-uri", stock_uri(uri), "--tracking-uri", stock_uri(uri), *options]
        for uri, options in calls
    ]
    done = subprocess.run(
        [sys.executable, "-c", STOCK],
        input=json.dumps(arguments),
        env=base_environment() | STOCK_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def files(directory: Path) -> list[str]:
    """Artifact files, by path below the directory."""
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


@pytest.mark.timeout(300)  # stock MLflow starts and collects eight times
def test_gc_leaves_the_rows_and_files_that_stock_leaves(
    populated: tuple[str, dict[str, str]], copies: Callable[[str], str], tmp_path: Path
) -> None:
    """Every table, row for row, whatever the options are."""
    uri, ids = populated
    before = dump(uri)
    assert len(files(tmp_path / "artifacts")) == 5
    calls = []
    # PostgreSQL takes a second to drop a database, so only the most different ones.
    for n, case in enumerate(CASES if uri.startswith("sqlite") else CASES[1:6:2]):
        options = [word.format_map(ids) for word in case]
        mine = copies(f"mine{n}")
        done = ours(mine, *options)
        assert done.returncode == 0, (case, done.stdout + done.stderr)
        calls.append((mine, copies(f"stock{n}"), options))
    stocks([(theirs, options) for _, theirs, options in calls])
    for n, (mine, theirs, options) in enumerate(calls):
        after, expected = dump(mine, f"/mine{n}/"), dump(theirs, f"/stock{n}/")
        assert {name: after[name] for name in after if after[name] != expected[name]} == {}, options
        assert after != before, options
        assert files(tmp_path / f"mine{n}") == files(tmp_path / f"stock{n}"), options


def move_new_to_team(uri: str, ids: dict[str, str]) -> None:
    """Put the experiment `new` and a finished job into the workspace `team-a`."""
    run_sql(
        uri,
        "INSERT INTO workspaces (name) VALUES ('team-a')",
        f"UPDATE experiments SET workspace = 'team-a' WHERE experiment_id = {ids['new']}",
        "UPDATE jobs SET workspace = 'team-a' WHERE id = 'new-2'",
    )


@pytest.mark.timeout(300)
def test_gc_of_a_workspace_leaves_the_rows_that_stock_leaves(
    populated: tuple[str, dict[str, str]], copies: Callable[[str], str], tmp_path: Path
) -> None:
    """Every table, row for row."""
    uri, ids = populated
    move_new_to_team(uri, ids)
    everything = dump(uri)
    calls = []
    for n, case in enumerate(
        (("--workspace", "team-a"), ("--workspace", "default"), ("--all-workspaces",))
    ):
        options = [*case, "--jobs"]
        mine = copies(f"mine{n}")
        done = ours(mine, *options)
        assert done.returncode == 0, (case, done.stdout + done.stderr)
        calls.append((mine, copies(f"stock{n}"), options))
    stocks([(theirs, options) for _, theirs, options in calls])
    left = []
    for n, (mine, theirs, options) in enumerate(calls):
        after, expected = dump(mine, f"/mine{n}/"), dump(theirs, f"/stock{n}/")
        assert {name: after[name] for name in after if after[name] != expected[name]} == {}, options
        assert files(tmp_path / f"mine{n}") == files(tmp_path / f"stock{n}"), options
        left.append([len(after[name]) for name in ("experiments", "runs", "jobs")])
    count = [len(everything[name]) for name in ("experiments", "runs", "jobs")]
    of_team, of_default, of_all = ([a - b for a, b in zip(count, one, strict=True)] for one in left)
    assert of_team == [1, 1, 1]
    assert [a + b for a, b in zip(of_team, of_default, strict=True)] == of_all


def test_what_is_named_must_be_in_the_workspace(populated: tuple[str, dict[str, str]]) -> None:
    """Otherwise nothing is removed, as for an unknown workspace."""
    uri, ids = populated
    move_new_to_team(uri, ids)
    before = dump(uri)
    for options, why in (
        (("--workspace", "team-a", "--run-ids", ids["run new"]), "does not exist"),
        (("--workspace", "default", "--experiment-ids", ids["new"]), "does not exist"),
        (("--workspace", "team-b"), "no workspace 'team-b'"),
        (("--workspace", "Team A"), "not the name of a workspace"),
        (("--workspace", "team-a", "--all-workspaces"), "together"),
    ):
        done = ours(uri, *options)
        assert done.returncode == 2, done.stdout
        assert why in done.stderr
    assert dump(uri) == before
    chosen = ours(uri, "--dry-run", environment={"MLFLOW_WORKSPACE": "team-a"})
    assert "Would remove 1 run, 0 logged models, 1 experiment," in chosen.stdout
    everywhere = ours(uri, "--dry-run")
    assert "Would remove 4 runs, 2 logged models, 2 experiments" in everywhere.stdout


def test_a_dry_run_counts_and_changes_nothing(
    populated: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    """Neither rows nor files."""
    uri, ids = populated
    before, there = dump(uri), files(tmp_path / "artifacts")
    done = ours(uri, "--dry-run", "--jobs")
    assert "Would remove 4 runs, 2 logged models, 2 experiments, 242 rows" in done.stdout
    assert ", 2 jobs." in done.stdout
    done = ours(
        uri, "--dry-run", "--run-ids", ids["run old"], "--logged-model-ids", ids["model old"]
    )
    assert "Would remove 3 runs, 1 logged model, 2 experiments" in done.stdout
    assert (dump(uri), files(tmp_path / "artifacts")) == (before, there)


def test_inputs_go_when_asked_for(populated: tuple[str, dict[str, str]]) -> None:
    """Stock leaves these rows, which link runs to datasets."""
    uri, _ = populated
    assert len(rows(uri, "SELECT * FROM inputs WHERE destination_type = 'RUN'")) == 5
    assert ours(uri, "--inputs").returncode == 0
    (left,) = rows(uri, "SELECT destination_id FROM inputs WHERE destination_type = 'RUN'")
    assert rows(uri, f"SELECT 1 FROM runs WHERE run_uuid = '{left[0]}'")
    assert len(rows(uri, "SELECT * FROM input_tags")) == 1


def test_an_experiment_with_an_active_run_stays(populated: tuple[str, dict[str, str]]) -> None:
    """Stock would remove the active run with it."""
    uri, _ = populated
    (run_id,) = rows(uri, "SELECT run_uuid FROM runs WHERE name = 'of old'")[0]
    run_sql(
        uri,
        f"UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE run_uuid = '{run_id}'",
    )
    done = ours(uri)
    assert done.returncode == 1
    assert "kept: experiment" in done.stdout
    assert rows(uri, f"SELECT count(*) FROM metrics WHERE run_uuid = '{run_id}'")[0][0] == 61
    assert len(rows(uri, "SELECT 1 FROM experiments WHERE name = 'old'")) == 1


def test_a_run_whose_artifacts_cannot_be_removed_stays(
    populated: tuple[str, dict[str, str]],
) -> None:
    """Only its row has their location."""
    uri, _ = populated
    run_sql(uri, "UPDATE runs SET artifact_uri = 'ftp://elsewhere/r/artifacts' WHERE name = 'old'")
    done = ours(uri)
    assert done.returncode == 1
    assert "kept: run" in done.stdout
    assert len(rows(uri, "SELECT 1 FROM runs WHERE name = 'old'")) == 1
    assert ours(uri, "--keep-artifacts").returncode == 0
    assert not rows(uri, "SELECT 1 FROM runs WHERE name = 'old'")


@pytest.mark.parametrize("age", ["", "30", "d", "5x", "1h2d"])
def test_an_age_that_is_none_is_refused(age: str, tmp_path: Path) -> None:
    """Before anything is opened."""
    done = ours(f"sqlite:///{tmp_path}/none.db", "--older-than", age)
    assert done.returncode == 2
    assert "is not an age" in done.stderr


@pytest.mark.parametrize("option", ["run", "logged-model", "experiment"])
def test_what_is_named_must_be_deleted(populated: tuple[str, dict[str, str]], option: str) -> None:
    """And be old enough; else nothing is removed at all. Stock stops half-way."""
    uri, ids = populated
    kind = {"run": "run ", "logged-model": "model ", "experiment": ""}[option]
    alive = ids["kept" if option == "experiment" else f"{kind}alive"]
    before = dump(uri)
    nobody = "77" if option == "experiment" else "m-" + "0" * 32
    for named, words, why in (
        (alive, (), "it must be deleted before it can be removed"),
        (nobody, (), f"{option.replace('-', ' ').capitalize()} {nobody} does not exist."),
        (ids[f"{kind}new"], ("--older-than", "1d"), "was deleted too recently"),
    ):
        done = ours(uri, f"--{option}-ids", f"{ids[f'{kind}old']},{named}", *words)
        assert done.returncode == 2, done.stdout
        assert why in done.stderr
        assert "Nothing was removed." in done.stderr
    assert dump(uri) == before


def test_proxied_artifacts_are_deleted_at_their_destination(tmp_path: Path) -> None:
    """A missing directory is an error: the rows refer to files in it."""
    uri, store = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "store"
    with (
        headrace(uri, tmp_path, "--artifacts-destination", str(store)) as server,
        Wire(server.url) as wire,
    ):
        client = Client(wire)
        made = client.post("runs/create", experiment_id="0", start_time=1)["run"]["info"]
        assert made["artifact_uri"].startswith("mlflow-artifacts:/")
        path = made["artifact_uri"].removeprefix("mlflow-artifacts:/")
        put = f"/api/2.0/mlflow-artifacts/artifacts/{path}/model.bin"
        assert wire.ask("PUT", put, b"weights").status == 200
        client.post("runs/delete", run_id=made["run_id"])
    done = ours(uri, "--artifacts-destination", str(tmp_path / "elsewhere"))
    assert done.returncode == 1
    assert "set it with --artifacts-destination" in done.stdout
    assert ours(uri).returncode == 1  # another directory than the server's
    assert len(files(store)) == len(rows(uri, "SELECT 1 FROM runs")) == 1
    assert ours(uri, "--artifacts-destination", str(store)).returncode == 0
    assert files(store) == rows(uri, "SELECT 1 FROM runs") == []


def test_a_server_that_never_had_an_artifact_has_no_directory(tmp_path: Path) -> None:
    """In its default place, beside the database, that is no error."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path) as server, Wire(server.url) as wire:
        client = Client(wire)
        made = client.post("runs/create", experiment_id="0", start_time=1)["run"]["info"]
        client.post("runs/delete", run_id=made["run_id"])
    done = ours("sqlite:///mlflow.db", directory=tmp_path)
    assert (done.returncode, rows(uri, "SELECT 1 FROM runs")) == (0, []), done.stdout


async def test_a_run_restored_during_its_collection_keeps_the_rest(
    populated: tuple[str, dict[str, str]],
) -> None:
    """Every chunk checks again whether the run is still deleted."""
    uri, ids = populated
    before = dump(uri)
    async with opened(uri) as db:
        for table in garbage.OF_EXPERIMENT:
            kept = int(ids["kept"])
            assert await db.write(garbage.chunk_of_experiment, kept, table) == 0
        alive = [ids["model alive"]]
        assert await db.write(garbage.delete_models, alive, ANY_TIME, True) == ([], [], 0, [])
        alive = [ids["run alive"]]
        assert await db.write(garbage.delete_runs, alive, ANY_TIME, True, True) == ([], [], 0, [])
    assert dump(uri) == before
