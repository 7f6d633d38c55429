"""/livez, /readyz and /metrics of real servers, while their database comes and goes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.fix_proxy import behind_proxy
from tests.fix_server import headrace
from tests.processes import children
from tests.prometheus import samples
from tests.waiting import eventually
from tests.wire import Wire

if TYPE_CHECKING:
    from tests.fix_postgres import PostgresServer

JSON = {"Content-Type": "application/json"}
CREATE = "/api/2.0/mlflow/experiments/create"


def requests_of(found: dict[Any, float], route: str) -> dict[str, float]:
    """Number of requests of a route, by status."""
    return {
        dict(labels)["status"]: value
        for (name, labels), value in found.items()
        if name == "headrace_requests_total" and dict(labels)["route"] == route
    }


def create(wire: Wire, name: str) -> int:
    """The status of an attempt to create an experiment."""
    return wire.ask("POST", CREATE, json.dumps({"name": name}).encode(), JSON).status


def test_probes_answer_by_any_host_name(uri: str, tmp_path: Path) -> None:
    """A kubelet uses the address of the pod, whatever name clients use."""
    with (
        headrace(uri, tmp_path, "--allowed-hosts", "mlflow.example.com") as server,
        Wire(server.url) as wire,
    ):
        for path in ("/livez", "/readyz", "/metrics"):
            answer = wire.ask("GET", path, headers={"Host": "100.64.1.2:5000"})
            assert answer.status == 200, path
        refused = wire.ask("GET", "/openapi.json", headers={"Host": "100.64.1.2:5000"})
        assert refused.status == 403


def test_a_database_file_that_is_gone_is_not_ready(tmp_path: Path) -> None:
    """And it is ready when the file is back, without a restart."""
    path = tmp_path / "mlflow.db"
    with headrace(f"sqlite:///{path}", tmp_path) as server, Wire(server.url) as wire:
        assert wire.ask("GET", "/readyz").status == 200
        path.rename(tmp_path / "away.db")
        assert wire.ask("GET", "/readyz").status == 503
        assert wire.ask("GET", "/livez").status == 200
        assert samples(wire)["headrace_database_up", ()] == 0
        (tmp_path / "away.db").rename(path)
        assert wire.ask("GET", "/readyz").status == 200
        assert samples(wire)["headrace_database_up", ()] == 1
        assert server.log().count("not ready") == 1
        assert server.log().count("ready again") == 1


def test_a_database_that_does_not_answer_is_not_ready(postgres_uri: str, tmp_path: Path) -> None:
    """The network drops everything: the probe still gets an answer, 503."""
    with behind_proxy(postgres_uri, tmp_path) as (proxy, server), Wire(server.url) as wire:
        assert wire.ask("GET", "/readyz").status == 200
        proxy.stall()
        refused = wire.ask("GET", "/readyz")
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        assert b"127.0.0.1" not in refused.body
        assert wire.ask("GET", "/livez").status == 200
        assert samples(wire)["headrace_database_up", ()] == 0
        proxy.restore()
        eventually(lambda: wire.ask("GET", "/readyz").status == 200)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="own_postgres looks into /proc")
def test_a_database_where_a_login_takes_seconds_is_ready(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """As with a distant server or a slow directory service, until PostgreSQL ends."""
    uri = own_postgres.uri
    with headrace(uri, tmp_path) as server, Wire(server.url) as wire:
        with psycopg.connect(uri, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET pre_auth_delay = 2")
            admin.execute("SELECT pg_reload_conf()")
            probes = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT 1'"
            while admin.execute(probes).fetchone() == (0,):
                assert wire.ask("GET", "/readyz").status == 200
        assert wire.ask("GET", "/readyz").status == 200
        assert "not ready" not in server.log()
        own_postgres.kill()
        eventually(lambda: wire.ask("GET", "/readyz").status == 503)


def test_requests_are_counted_by_route_and_status(uri: str, tmp_path: Path) -> None:
    """By the route's own path, for both prefixes."""
    with headrace(uri, tmp_path) as server, Wire(server.url) as wire:
        assert create(wire, "a") == 200
        assert create(wire, "a") == 400
        body = json.dumps({"name": "b"}).encode()
        assert wire.ask("POST", CREATE.replace("/api/", "/ajax-api/"), body, JSON).status == 200
        wire.ask("GET", "/no/such/thing")
        found = samples(wire)
        assert requests_of(found, CREATE) == {"200": 2, "400": 1}
        assert requests_of(found, "(unmatched)") == {"404": 1}
        labels = (("method", "POST"), ("route", CREATE))
        assert found["headrace_request_duration_seconds_count", labels] == 3
        assert found["headrace_request_duration_seconds_sum", labels] > 0
        assert found["headrace_database_up", ()] == 1


def test_commits_rows_and_errors_are_counted(uri: str, tmp_path: Path) -> None:
    """Ten points of one key: ten rows of history and one latest metric."""
    with headrace(uri, tmp_path) as server, Wire(server.url) as wire:
        made = wire.ask(
            "POST", "/api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}', JSON
        ).json()
        before = samples(wire)
        points = [{"key": "k", "value": n, "timestamp": n, "step": n} for n in range(10)]
        body = {"run_id": made["run"]["info"]["run_id"], "metrics": points}
        path = "/api/2.0/mlflow/runs/log-batch"
        assert wire.ask("POST", path, json.dumps(body).encode(), JSON).status == 200
        after = samples(wire)
        assert (
            after["headrace_rows_written_total", ()] - before["headrace_rows_written_total", ()]
            == 11
        )
        for name in ("operations", "wait_seconds", "flush_seconds"):
            key = (f"headrace_group_commit_{name}_count", ())
            assert after[key] - before[key] == 1
        assert create(wire, "twice") == 200
        assert create(wire, "twice") == 400
        eventually(
            lambda: samples(wire)["headrace_database_errors_total", (("kind", "UniqueViolation"),)]
        )


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
def test_any_worker_answers_for_all_and_a_dead_one_is_not_forgotten(
    postgres_uri: str, tmp_path: Path
) -> None:
    """The counts of a killed worker are kept."""
    with headrace(postgres_uri, tmp_path, "--workers", "2") as server:
        for n in range(20):
            with Wire(server.url) as wire:  # a new connection, which any worker may accept
                assert create(wire, f"e{n}") == 200
        with Wire(server.url) as wire:  # the first may serve before the second has published
            eventually(lambda: samples(wire)["headrace_workers", ()] == 2)
        for _ in range(8):
            with Wire(server.url) as wire:
                assert requests_of(samples(wire), CREATE) == {"200": 20}
                assert samples(wire)["headrace_workers", ()] == 2
        victim = children(server.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        eventually(
            lambda: (
                victim not in children(server.process.pid)
                and len(children(server.process.pid)) == 2
            )
        )
        for n in range(20, 30):
            with Wire(server.url) as wire:
                assert create(wire, f"e{n}") == 200
        with Wire(server.url) as wire:
            assert requests_of(samples(wire), CREATE) == {"200": 30}


def test_metrics_can_be_turned_off(tmp_path: Path) -> None:
    """And `--expose-prometheus` turns them on again, with stock's name for the number of requests."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path, "--no-metrics") as server, Wire(server.url) as wire:
        assert wire.ask("GET", "/metrics").status == 404
    counts = tmp_path / "counts"
    for expected in (1, 2):  # the directory keeps them over a restart
        options = ("--no-metrics", "--expose-prometheus", str(counts))
        with headrace(uri, tmp_path, *options) as server, Wire(server.url) as wire:
            assert create(wire, f"e{expected}") == 200
            labels = (("method", "POST"), ("status", "200"))
            assert samples(wire)["mlflow_http_request_total", labels] == expected


def test_prometheus_may_ask_for_openmetrics(tmp_path: Path) -> None:
    """As it does by default."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    with (
        headrace(f"sqlite:///{tmp_path}/m.db", tmp_path, "--static-prefix", "/ml") as server,
        Wire(server.url) as wire,
    ):
        answer = wire.ask("GET", "/ml/metrics", headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.body.endswith(b"# EOF\n")
        assert wire.ask("GET", "/ml/readyz").status == 200


def test_a_server_without_a_database_is_ready(tmp_path: Path) -> None:
    """`--artifacts-only` uses no database."""
    with (
        headrace("sqlite:///mlflow.db", tmp_path, "--artifacts-only") as server,
        Wire(server.url) as wire,
    ):
        assert wire.ask("GET", "/readyz").status == 200
        assert samples(wire)["headrace_database_up", ()] == 1
