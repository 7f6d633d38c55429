"""headrace behind Debian's PgBouncer, with session and with transaction pooling."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.fix_pgbouncer import needs_pgbouncer, pgbouncer
from tests.fix_server import base_environment, free_port, headrace
from tests.waiting import eventually
from tests.wire import Wire

from headrace.db.open import open_database
from headrace.db.sql import Sql
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_postgres import PostgresServer

    from headrace.db.base import Tx

pytestmark = needs_pgbouncer
JSON = {"Content-Type": "application/json"}
POINTS = 700  # of one batch: by COPY


def ask(wire: Wire, path: str, **body: Any) -> Any:
    answer = wire.ask("POST", f"/api/2.0/mlflow/{path}", json.dumps(body).encode(), JSON)
    assert answer.status == 200, f"{path}: {answer}"
    return answer.json()


def get(wire: Wire, path: str) -> Any:
    answer = wire.ask("GET", path)
    assert answer.status == 200, f"{path}: {answer}"
    return answer.json() if answer.body.startswith(b"{") else answer.body


def train(url: str, number: int) -> int:
    """Log a run with every kind of write and read it with every kind of read; the number of points in its history."""
    with Wire(url) as wire:
        experiment = ask(wire, "experiments/create", name=f"e{number}")["experiment_id"]
        run_id = ask(wire, "runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
        for step in range(5):
            point = {"key": "m", "value": step, "timestamp": step, "step": step}
            ask(wire, "runs/log-metric", run_id=run_id, **point)
            params = [{"key": f"p{step}", "value": "v"}]
            ask(wire, "runs/log-batch", run_id=run_id, metrics=[point], params=params)
            search = {"experiment_ids": [experiment], "filter": f"metrics.m >= {step}"}
            assert len(ask(wire, "runs/search", **search)["runs"]) == 1
        many = [{"key": "n", "value": n, "timestamp": n, "step": n} for n in range(POINTS)]
        ask(wire, "runs/log-batch", run_id=run_id, metrics=many)
        shown = get(wire, f"/api/2.0/mlflow/runs/get?run_id={run_id}")["run"]["data"]
        assert len(shown["params"]) == 5
        ask(wire, "registered-models/create", name=f"m{number}")
        ask(wire, "model-versions/create", name=f"m{number}", source="s3://bucket/m")
        get(wire, "/readyz")
        path = f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=n&max_results=1000"
        return len(get(wire, path)["metrics"])


@pytest.mark.parametrize(
    ("pool_mode", "options"),
    [
        ("transaction", ()),
        ("session", ()),
        ("session", ("--postgres-pooler", "session")),
    ],
)
def test_everything_works_behind_a_pooler(
    pool_mode: str, options: tuple[str, ...], postgres_empty_uri: str, tmp_path: Path
) -> None:
    """From an empty database, with two servers that share connections, one of them started later."""
    size = 4 if pool_mode == "transaction" else 60
    with ExitStack() as stack:
        bouncer = pgbouncer(postgres_empty_uri, pool_mode, size)
        uri = stack.enter_context(bouncer)
        servers = [stack.enter_context(headrace(uri, tmp_path, *options))]
        assert train(servers[0].url, 0) == POINTS
        servers.append(stack.enter_context(headrace(uri, tmp_path, *options)))
        with ThreadPoolExecutor(6) as pool:
            found = pool.map(lambda n: train(servers[n % 2].url, n), range(1, 7))
            assert set(found) == {POINTS}
        for server in servers:
            assert ("is behind a pooler" in server.log()) == (not options)
            assert "Traceback" not in server.log()


def test_settings_of_ours_do_not_reach_others_that_share_a_server(
    postgres_uri: str, tmp_path: Path
) -> None:
    with (
        pgbouncer(postgres_uri, "transaction", 1) as uri,
        headrace(uri, tmp_path) as server,
    ):
        assert train(server.url, 0) == POINTS
        with psycopg.connect(uri, autocommit=True, prepare_threshold=None) as other:
            count = other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
            assert count == (0,)
            changed = other.execute(
                "SELECT name FROM pg_settings WHERE name IN ('jit', 'plan_cache_mode')"
                " AND setting <> reset_val"
            )
            assert changed.fetchall() == []


@pytest.mark.parametrize("pool_mode", ["session", "transaction"])
async def test_no_statement_is_compiled_behind_a_pooler(pool_mode: str, postgres_uri: str) -> None:
    """With jit, the first write of a connection took seconds: the driver's query for the types of arrays is long."""

    async def jit(tx: Tx) -> str:
        return str((await tx.fetch(Sql("SELECT current_setting('jit')")))[0][0])

    with psycopg.connect(postgres_uri, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{admin.info.dbname}" SET jit = on')
    with pgbouncer(postgres_uri, pool_mode) as uri:
        database = await open_database(Settings(backend_store_uri=uri))
        try:
            assert await database.read(jit) == "off"
            assert await database.read_point(jit) == "off"
            assert await database.write(jit) == "off"
            assert await database.write_group(jit, lock_s=1, alone=True) == "off"
            assert await database.write_group(jit, lock_s=1) == "off"
        finally:
            await database.close()


def test_an_outage_behind_a_pooler_ends_when_the_database_is_back(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    with pgbouncer(own_postgres.uri, "transaction") as uri, headrace(uri, tmp_path) as server:
        assert train(server.url, 0) == POINTS
        own_postgres.kill()
        with Wire(server.url) as wire:
            create = ("POST", "/api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}', JSON)
            refused = wire.ask(*create)
            assert refused.status in (429, 503), str(refused)
            eventually(lambda: wire.ask("GET", "/readyz").status == 503)
            own_postgres.start()
            eventually(lambda: wire.ask("GET", "/readyz").status == 200)
            eventually(lambda: wire.ask(*create).status == 200)
        assert train(server.url, 1) == POINTS


def start_fails(uri: str, directory: Path, *options: str) -> str:
    """The output of a server that cannot start."""
    argv = [sys.executable, "-m", "headrace.commands.cli", "server", "--backend-store-uri", uri]
    argv += ["--port", str(free_port()), *options]
    done = subprocess.run(
        argv, cwd=directory, env=base_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_server_with_a_wrong_setting_for_the_pooler_does_not_start(
    postgres_uri: str, tmp_path: Path
) -> None:
    with pgbouncer(postgres_uri, "transaction") as uri:
        said = start_fails(uri, tmp_path, "--postgres-pooler", "session")
        assert "gives each transaction another server" in said
        said = start_fails(uri, tmp_path, "--postgres-pooler", "none")
        assert "unsupported startup parameter" in said
        assert "omit --postgres-pooler" in said


def test_a_server_whose_parameters_the_pooler_refuses_does_not_start(
    postgres_uri: str, tmp_path: Path
) -> None:
    with pgbouncer(postgres_uri, "session") as uri:
        said = start_fails(f"{uri}?options=-csearch_path%3Dpublic", tmp_path)
        assert "Remove options= from the URI" in said


@pytest.mark.parametrize("option", ["statement_cache_size=0", "prepare_threshold=None"])
def test_the_uri_may_say_that_nothing_is_prepared(
    option: str, postgres_uri: str, tmp_path: Path
) -> None:
    with headrace(f"{postgres_uri}?{option}", tmp_path) as server:
        assert train(server.url, 0) == POINTS
        with psycopg.connect(postgres_uri) as other:
            other.autocommit = True
            begun = (
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headrace'"
                " AND datname = current_database() AND query NOT IN ('COMMIT', 'SELECT 1', 'ROLLBACK')"
            )
            eventually(
                lambda: other.execute(begun).fetchone() == (0,),
                what="each connection has ended its last transaction",
            )
