"""A read-only database: reads succeed, writes are refused with the reason until it is writable again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
from tests.faults.load import API, Once, eventually, point
from tests.faults.stored import rows
from tests.faults.test_database_away import end_backends
from tests.fix_server import headrace

if TYPE_CHECKING:
    from pathlib import Path


def make_read_only(uri: str, word: str) -> None:
    """New sessions of the database refuse writes (`on`), as those of a standby do, or take them (`off`)."""
    name = urlsplit(uri).path[1:]
    with psycopg.connect(uri, autocommit=True) as connection:
        statement = f'ALTER DATABASE "{name}" SET default_transaction_read_only = {word}'
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(statement.encode())
    end_backends(uri)


def refused(wire: Once, tag: dict[str, str]) -> bool:
    """Whether a write is rejected with certainty that it has no effect."""
    return wire.post("runs/set-tag", tag).status == 429


def test_a_postgres_that_becomes_read_only(tmp_path: Path, postgres_uri: str) -> None:
    """While the server runs, and from its start; it needs no restart when the database is writable again."""
    for _ in range(2):
        with headrace(postgres_uri, tmp_path) as server, Once(server.url) as wire:
            make_read_only(postgres_uri, "off")
            run_id = wire.new_run()
            make_read_only(postgres_uri, "on")
            batch = {"run_id": run_id, "metrics": [point("a", 1, 1)]}
            tag = {"run_id": run_id, "key": "k", "value": "v"}
            # Until then a write may be sent on a connection whose backend is ending: its result is unknown.
            eventually(partial(refused, wire, tag), 10)
            for name, body in (
                ("runs/log-batch", batch),
                ("runs/create", {"experiment_id": "0"}),
                ("experiments/create", {"name": "refused"}),
            ):
                refusal = wire.post(name, body)
                assert refusal.status == 429, str(refusal)
                assert "ReadOnlySQLTransactionError" in refusal.json()["message"]
                assert refusal.headers["retry-after"].isdigit()
            assert wire.ask("GET", f"{API}runs/get?run_id={run_id}").status == 200
            make_read_only(postgres_uri, "off")
            wire.made("runs/log-batch", batch)
            wire.new_run()
            make_read_only(postgres_uri, "on")  # the next server starts on it
    assert rows(postgres_uri, "SELECT count(*) FROM runs") == [(4,)]
    assert rows(postgres_uri, "SELECT count(*) FROM experiments") == [(1,)]
