"""Searches of a user who may read 50 of 10,000 rows, beside those of a server without users.

    python -m benchmarks.scopes sqlite
    python -m benchmarks.scopes postgresql --postgres-uri URI

Both servers run on one database and are asked in turn. The table shows lower quartiles of
milliseconds, which other work on the machine changes less than medians.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from benchmarks import servers
from benchmarks.report import table
from benchmarks.runner import database_server
from benchmarks.servers import RunningServer
from headrace.auth import grants, users
from headrace.auth.open import open_accounts
from headrace.auth.passwords import hashed
from headrace.db.open import open_database
from headrace.settings.auth import AuthSettings
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.databases import Databases

ROWS: Final = 10_000
READABLE: Final = 50
PAGE: Final = 20
PASSWORD: Final = "a long password"
SERIES: Final = {
    "sqlite": (
        "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {limit})"
        " SELECT n FROM s) AS series"
    ),
    "postgresql": "generate_series(1, {limit}) AS series(n)",
}
# Method, path, fields, and the field of the answer that has the rows.
Search = tuple[str, str, dict[str, Any], str]
SEARCHES: Final[tuple[Search, ...]] = (
    ("POST", "experiments/search", {"max_results": PAGE}, "experiments"),
    ("GET", "registered-models/search", {"max_results": PAGE}, "registered_models"),
    ("GET", "model-versions/search", {"max_results": PAGE}, "model_versions"),
    (
        "POST",
        "runs/search",
        {"max_results": PAGE, "experiment_ids": [str(n) for n in range(1, 1 + READABLE)]},
        "runs",
    ),
)


def statements(kind: str) -> list[str]:
    """Experiments, models with a version each, and 20 runs in each of the first 50 experiments."""
    rows, runs = (SERIES[kind].format(limit=limit) for limit in (ROWS, PAGE * READABLE))
    return [
        "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time)"
        f" SELECT 'experiment ' || n, 's3://bucket/' || n, 'active', n, n FROM {rows}",
        f"INSERT INTO registered_models (name, creation_time) SELECT 'model ' || n, n FROM {rows}",
        "INSERT INTO model_versions (name, version, current_stage, last_updated_time)"
        f" SELECT 'model ' || n, 1, 'None', n FROM {rows}",
        "INSERT INTO runs (run_uuid, experiment_id, name, status, start_time, lifecycle_stage)"
        f" SELECT 'run' || n, 1 + n % {READABLE}, 'run', 'RUNNING', n, 'active' FROM {runs}",
    ]


async def fill(uri: str, default: str, level: str) -> None:
    """Ann has grants of `level` on the first 50 experiments and models."""
    settings = Settings(backend_store_uri=uri, auth=AuthSettings(default, uri))
    tracking = await open_database(settings)
    accounts = await open_accounts(settings, tracking)
    user = await accounts.db.write(users.create, "ann", hashed(PASSWORD))
    for n in range(1, 1 + READABLE):
        for resource, pattern in (("experiment", f"{n}"), ("registered_model", f"model {n}")):
            await accounts.db.write(grants.give, user.id, resource, pattern, level)
    await tracking.close()


class Client:
    """A connection that stays open."""

    def __init__(self, port: int, user: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._headers = {"content-type": "application/json"}
        if user is not None:
            login = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
            self._headers["authorization"] = f"Basic {login}"

    def ask(self, search: Search, token: str | None = None) -> tuple[float, Any]:
        """Milliseconds, and the JSON of the answer."""
        method, path, fields, _ = search
        fields = fields | ({"page_token": token} if token else {})
        target, body = f"/api/2.0/mlflow/{path}", json.dumps(fields)
        if method == "GET":
            target, body = f"{target}?{urlencode(fields)}", ""
        began = time.perf_counter()
        self._connection.request(method, target, body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        took_ms = 1000 * (time.perf_counter() - began)
        assert answer.status == 200, content
        return took_ms, json.loads(content)


def check_pages(client: Client, search: Search, rows: int) -> None:
    """Every page is full but the last, and the pages together have that many rows."""
    token, found = None, 0
    while True:
        _, answer = client.ask(search, token)
        size = len(answer.get(search[3], []))
        found += size
        token = answer.get("next_page_token")
        if token is None:
            assert found == rows, (search[1], found)
            return
        assert size == PAGE, (search[1], size)


def with_users(uri: str, default: str, work: Path) -> servers.Server:
    """The server of the benchmark with users in the same database."""
    config = work / "auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = {default}\ndatabase_uri = {uri.replace('%', '%%')}\n"
        f"admin_username = admin\nadmin_password = {PASSWORD}\n"
    )
    plain = servers.BY_NAME["headrace"]

    def command(uri: str, port: int, work: Path) -> list[str]:
        return [*plain.command(uri, port, work), "--app-name", "basic-auth"]

    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of the benchmark",
    }
    return replace(plain, name="users", command=command, environment=environment)


def measure(
    databases: Databases, default: str, level: str, counts: dict[str, int], options: Any
) -> list[list[str]]:
    """A row of the table for each search."""
    uri = databases.create("scopes")
    work = Path(options.work)
    with RunningServer(servers.BY_NAME["headrace"], uri, work) as plain:
        databases.write(uri, statements(options.database))
        if options.database == "postgresql":
            databases.run(uri, "ANALYZE")
        with RunningServer(with_users(uri, default, work), uri, work) as guarded:
            asyncio.run(fill(uri, default, level))
            clients = [
                Client(plain.port),
                Client(guarded.port, "admin"),
                Client(guarded.port, "ann"),
            ]
            rows = []
            for search in SEARCHES:
                check_pages(clients[2], search, counts.get(search[3], 0))
                times: list[list[float]] = [[] for _ in clients]
                for _ in range(options.requests):
                    for client, took in zip(clients, times, strict=True):
                        took.append(client.ask(search)[0])
                plain_ms, admin_ms, ann_ms = (quantiles(took)[0] for took in times)
                figures = [f"{ms:.2f}" for ms in (plain_ms, admin_ms, ann_ms)]
                rows.append([search[1], *figures, f"{ann_ms / plain_ms:.2f}"])
    databases.drop("scopes")
    return rows


def run(options: Any, tell: Callable[[str], object]) -> None:
    """Measure both scopes and print their tables."""
    with (
        tempfile.TemporaryDirectory(prefix="scopes-") as work,
        database_server(options.database, Path(work), options.postgres_uri) as databases,
    ):
        options.work = work
        head = ["without users", "admin", "user", "user ÷ without"]
        few = {"experiments": 50, "registered_models": 50, "model_versions": 50, "runs": 1000}
        rows = measure(databases, "NO_PERMISSIONS", "READ", few, options)
        tell(table([f"{options.database}, 50 of {ROWS:,} readable", *head], rows))
        rest = ROWS - READABLE
        most = {"experiments": rest + 1, "registered_models": rest, "model_versions": rest}
        rows = measure(databases, "READ", "DENY", most, options)
        tell(table([f"{options.database}, all but 50 readable", *head], rows))


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.scopes")
    parser.add_argument("database", choices=list(SERIES))
    parser.add_argument("--postgres-uri", help="of a running server")
    parser.add_argument("--requests", type=int, default=200, help="of each client and search (200)")
    run(parser.parse_args(), lambda text: sys.stdout.write(f"{text}\n"))


if __name__ == "__main__":
    main()
