"""Webhooks of a real server: which are called, signatures, retries, and refused addresses."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_packages import environment_without
from tests.fix_postgres import fresh_database
from tests.fix_server import headrace
from tests.receiver import receiver
from tests.wire import Wire

from headrace.api.registry.webhooks.delivery import MAX_WAITING_CHARACTERS, Deliveries, pause_s
from headrace.db.open import open_database
from headrace.extras import install_command
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_postgres import PostgresServer
    from tests.fix_server import Server
    from tests.receiver import Receiver

OPEN = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
KEY = {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
CREATED = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]


@contextmanager
def serving(directory: Path, **environment: str) -> Iterator[tuple[Server, Wire]]:
    uri = f"sqlite:///{directory}/mlflow.db"
    with (
        headrace(uri, directory, environment=environment) as server,
        Wire(server.url) as wire,
    ):
        yield server, wire


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def ask(wire: Wire, method: str, path: str, body: object = None) -> Any:
    answer = wire.ask(
        method,
        f"/api/2.0/mlflow/{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    assert answer.status == 200, str(answer)
    return answer.json()


def hook(wire: Wire, url: str, **more: Any) -> str:
    body = {"name": "hook", "url": url, "events": CREATED} | more
    made: str = ask(wire, "POST", "webhooks", body)["webhook"]["webhook_id"]
    return made


def model(wire: Wire, name: str) -> None:
    ask(wire, "POST", "registered-models/create", {"name": name})


def test_a_webhook_counts_from_its_creation_until_it_is_switched_off(
    tmp_path: Path, there: Receiver
) -> None:
    path = "/a%20b?c=d"
    with serving(tmp_path, **OPEN) as (_, wire):
        hook(wire, f"{there.url}/witness")

        def happens(*names: str) -> None:
            for name in names:
                count = len(there.wait_for(0, "/witness"))
                model(wire, name)
                there.wait_for(
                    count + 1, "/witness"
                )  # by then all other deliveries have been decided

        happens("before")
        made = hook(wire, f"{there.url}/a b?c=d")
        happens("first")
        ask(wire, "PATCH", f"webhooks/{made}", {"status": "DISABLED"})
        happens("unheard")
        ask(wire, "PATCH", f"webhooks/{made}", {"status": "ACTIVE"})
        happens("second")
        ask(wire, "DELETE", f"webhooks/{made}")
        happens("unheard too")
        found = there.wait_for(2, path)
    assert sorted(one.json()["data"]["name"] for one in found) == ["first", "second"]
    assert "x-mlflow-signature" not in found[0].headers
    # The server has ended: there are no more deliveries.
    assert len(there.wait_for(0, path)) == 2


def test_a_secret_is_stored_encrypted_and_survives_a_restart(
    tmp_path: Path, there: Receiver
) -> None:
    with serving(tmp_path, **OPEN, **KEY) as (_, wire):
        hook(wire, there.url, secret="s3cret")
        assert "s3cret" not in str(wire.ask("GET", "/api/2.0/mlflow/webhooks"))
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as db:
        ((stored,),) = db.execute("SELECT secret FROM webhooks").fetchall()
    assert stored.startswith("gAAAA")
    with serving(tmp_path, **OPEN, **KEY) as (_, wire):
        model(wire, "m")
        assert there.wait_for(1)[0].is_signed_with("s3cret")


def test_without_the_key_nothing_is_sent_and_the_log_says_why(
    tmp_path: Path, there: Receiver
) -> None:
    with serving(tmp_path, **OPEN) as (server, wire):
        made = hook(wire, f"{there.url}/token-in-the-path", secret="s3cret")
        model(wire, "signed")
        assert there.wait_for(1)[0].is_signed_with("s3cret")
        assert "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY" in server.log()
    with serving(tmp_path, **OPEN) as (server, wire):
        model(wire, "unheard")
        result = ask(wire, "POST", f"webhooks/{made}/test", {})["result"]
        assert "stored under another key" in result["error_message"]
        assert ask(wire, "GET", f"webhooks/{made}")["webhook"]["name"] == "hook"
    assert "did not receive registered_model.created" in server.log()
    assert "token-in-the-path" not in server.log()
    assert len(there.received) == 1


def test_processes_of_one_server_share_their_key(
    postgres_server: PostgresServer, tmp_path: Path, there: Receiver
) -> None:
    with (
        fresh_database(postgres_server) as uri,
        headrace(uri, tmp_path, "--workers", "3", environment=OPEN) as server,
    ):
        with Wire(server.url) as wire:
            hook(wire, there.url, secret="s3cret")
        for number in range(12):  # a new connection each time, so that any of the processes answers
            with Wire(server.url) as wire:
                model(wire, f"m{number}")
        found = there.wait_for(12)
    assert all(one.is_signed_with("s3cret") for one in found)


def test_a_delivery_is_tried_again_and_keeps_its_id(tmp_path: Path, there: Receiver) -> None:
    with serving(tmp_path, **OPEN) as (server, wire):
        hook(wire, there.url)
        there.answers = [(503, {"Retry-After": "0"}), (500, {})]
        model(wire, "m")
        tries = there.wait_for(3)
        there.answers = [(400, {})]
        model(wire, "refused")
        there.wait_for(4)
    assert len({one.headers["x-mlflow-delivery-id"] for one in tries}) == 1
    assert len(there.received) == 4
    assert "refused registered_model.created with 400" in server.log()


def test_a_redirect_that_keeps_the_body_is_followed(tmp_path: Path, there: Receiver) -> None:
    with serving(tmp_path, **OPEN) as (_, wire):
        made = hook(wire, f"{there.url}/old")
        there.answers = [(308, {"Location": "/new"})]
        assert ask(wire, "POST", f"webhooks/{made}/test", {})["result"]["success"]
        there.answers = [(307, {"Location": "file:///etc/passwd"})]
        result = ask(wire, "POST", f"webhooks/{made}/test", {})["result"]
    assert [one.path for one in there.received] == ["/old", "/new", "/old"]
    assert "Invalid webhook URL scheme: 'file'" in result["error_message"]


def test_a_private_address_is_refused_also_when_the_webhook_is_there_already(
    tmp_path: Path, there: Receiver
) -> None:
    with serving(tmp_path, **OPEN) as (_, wire):
        made = hook(wire, there.url)
    with serving(tmp_path, MLFLOW_WEBHOOK_ALLOWED_SCHEMES="http") as (_, wire):
        body = {"name": "hook", "url": there.url, "events": CREATED}
        answer = wire.ask(
            "POST",
            "/api/2.0/mlflow/webhooks",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        assert (answer.status, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        model(wire, "m")
        result = ask(wire, "POST", f"webhooks/{made}/test", {})["result"]
    assert "must not resolve to a non-public IP address" in result["error_message"]
    assert there.received == []


def test_a_receiver_that_hangs_delays_nothing_else(tmp_path: Path, there: Receiver) -> None:
    """Not the registry, not the other webhook, not the end of the server."""
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        serving(tmp_path, **OPEN, MLFLOW_WEBHOOK_DELIVERY_MAX_WORKERS="2") as (server, wire),
    ):
        hook(wire, f"http://127.0.0.1:{mute.getsockname()[1]}")
        hook(wire, there.url)
        model(wire, "m")
        there.wait_for(1)
        assert ask(wire, "GET", "registered-models/get?name=m")["registered_model"]["name"] == "m"
        server.process.terminate()
        assert server.process.wait(20) == 0  # four attempts would wait 30 s each
        assert "1 deliveries to webhooks are given up" in server.log()


def test_without_its_package_only_secrets_are_refused(tmp_path: Path, there: Receiver) -> None:
    packages = environment_without(tmp_path / "env", "mlflow", "cryptography")
    with serving(tmp_path, **OPEN, **packages) as (_, wire):
        body = {"name": "hook", "url": there.url, "events": CREATED, "secret": "s"}
        sent = json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        answer = wire.ask("POST", "/api/2.0/mlflow/webhooks", sent, kind)
        assert (answer.status, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
        assert install_command("webhooks") in answer.json()["message"]
        assert ask(wire, "GET", "webhooks") == {}
        hook(wire, there.url)
        model(wire, "m")
        there.wait_for(1)


def test_pauses_grow_and_end() -> None:
    assert pause_s(1) == 0
    for failures, low in ((2, 2), (3, 4), (4, 8), (10, 60)):
        assert low <= pause_s(failures) <= low + 1


async def test_the_queue_of_deliveries_is_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also in bytes: beyond the limit an event is dropped and logged."""
    settings = Settings(backend_store_uri=f"sqlite:///{tmp_path}/m.db")
    database = await open_database(settings)
    sender = Deliveries(database, settings)
    long = {"name": "m", "description": "x" * (MAX_WAITING_CHARACTERS // 4)}
    for _ in range(5):
        sender.announce(("registered_model", "created"), long)
    assert caplog.text.count("too many webhook deliveries wait") == 2
    await sender.close()
    sender.announce(("registered_model", "created"), long)
    assert caplog.text.count("too many webhook deliveries wait") == 2
    await sender.close()
    await database.close()
