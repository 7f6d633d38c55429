"""Logins of a running server: passwords, tokens, a proxy, Prometheus; the audit log, and no secret in it."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_server import headrace
from tests.fix_users import ADMIN, PASSWORD, Person, accounts_in, auth_environment
from tests.waiting import eventually
from tests.wire import Wire

from headrace.auth import roles, users
from headrace.auth.failures import PER_USER
from headrace.auth.passwords import hashed
from headrace.auth.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_server import Server
    from tests.wire import Answer

APP = ("--app-name", "basic-auth", "--log-format", "json", "--log-level", "info")
GET = "/api/2.0/mlflow/experiments/get?experiment_id=0"
SECRET_KEY = "the key of the servers"
METRICS_TOKEN = "the token of prometheus"
GUESS = "a wrong password to look for"
OPTIONS = (
    "--auth-proxy-header", "X-Forwarded-User",
    "--auth-proxy-groups-header", "X-Forwarded-Groups",
    "--auth-proxy-networks", "127.0.0.1",
)  # fmt: skip


def basic(name: str, password: str) -> dict[str, str]:
    """The header of a login."""
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


class Users:
    """A server with users, and their database."""

    def __init__(self, uri: str, server: Server) -> None:
        self.uri = uri
        self.server = server

    def change(self, function: Any, *args: Any) -> Any:
        """Change the users' database, as another process would."""

        async def run() -> Any:
            async with accounts_in(self.uri) as accounts:
                return await accounts.db.write(function, *args)

        return asyncio.run(run())

    def read(self, function: Any, *args: Any) -> Any:
        """Read the users' database."""

        async def run() -> Any:
            async with accounts_in(self.uri) as accounts:
                return await accounts.db.read(function, *args)

        return asyncio.run(run())

    def get(self, path: str = GET, **headers: str) -> Answer:
        """The answer to a GET."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        with Wire(self.server.url) as wire:
            return wire.ask("GET", path, None, sent)

    def audit(self) -> list[dict[str, Any]]:
        """The lines of the audit log."""
        lines = [
            json.loads(line) for line in self.server.log().splitlines() if line.startswith("{")
        ]
        return [line for line in lines if line["logger"] == "headrace.audit"]


@pytest.fixture
def served(uri: str, tmp_path: Path) -> Iterator[Users]:
    """A server behind a proxy on this machine, with the user ann."""
    environment = auth_environment(tmp_path, uri) | {"HEADRACE_METRICS_TOKEN": METRICS_TOKEN}
    with headrace(uri, tmp_path, *APP, *OPTIONS, environment=environment) as server:
        found = Users(uri, server)
        found.change(users.create, "ann", hashed("the password of ann"))
        yield found
        log = server.log()
        for secret in (
            PASSWORD,
            "the password of ann",
            GUESS,
            SECRET_KEY,
            METRICS_TOKEN,
            "scrypt:",
        ):
            assert secret not in log
            assert base64.b64encode(secret.encode()).decode().rstrip("=") not in log
        assert "Traceback" not in log


def test_passwords(served: Users) -> None:
    """A change of the row by another process counts from the next request."""
    ann = basic("ann", "the password of ann")
    assert served.get(**ann).status == 200
    for wrong in (basic("ann", GUESS), basic("ann ", PASSWORD), basic("nobody", GUESS), {}):
        answer = served.get(**wrong)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="mlflow"'
        assert answer.body.startswith(b"You are not authenticated.")
    served.change(users.set_password_hash, "ann", hashed("another password of ann"))
    assert served.get(**ann).status == 401
    assert served.get(**basic("ann", "another password of ann")).status == 200
    served.change(users.delete, "ann", ())
    assert served.get(**basic("ann", "another password of ann")).status == 401
    reasons = [(line["user"], line["reason"]) for line in served.audit()]
    assert reasons[:3] == [("ann", "wrong password"), ("-", "unknown user"), ("-", "unknown user")]


def test_guesses_are_limited_and_nobody_else_is_locked_out(served: Users) -> None:
    ann = basic("ann", "the password of ann")
    assert served.get(**ann).status == 200
    for n in range(PER_USER.burst):
        assert served.get(**basic("ann", f"{GUESS} {n}")).status == 401
    refused = served.get(**basic("ann", f"{GUESS} again"))
    assert refused.status == 429
    assert 0 < int(refused.headers["retry-after"]) <= PER_USER.interval_s
    assert refused.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
    assert refused.json()["message"].startswith("Too many failed logins. Please try again in ")
    assert served.get(**basic("ann", f"{GUESS} 0")).status == 401  # known to be wrong
    assert served.get(**ann).status == 200
    # The proxy tells the address of the client.
    elsewhere = {"x-forwarded-for": "203.0.113.7"}
    assert served.get(**basic("ann", f"{GUESS} again"), **elsewhere).status == 401
    last = served.audit()[-3:]
    assert [line["status"] for line in last] == [429, 401, 401]
    assert [line["client"] for line in last] == ["127.0.0.1", "127.0.0.1", "203.0.113.7"]
    assert {line["user"] for line in last} == {"ann"}
    assert {line["route"] for line in last} == {"/api/2.0/mlflow/experiments/get"}


def test_a_flood_of_guesses_delays_nobody_who_is_logged_in(served: Users) -> None:
    """And leaves a bounded number of lines."""
    stop = threading.Event()
    statuses: list[int] = []

    def guess(number: int) -> None:
        with Wire(served.server.url) as wire:
            n = 0
            while not stop.is_set():
                n += 1
                header = basic(f"user {number}", f"{GUESS} {n}")
                statuses.append(wire.ask("GET", GET, None, header).status)

    with Person(served.server.url) as root:
        root.ok("GET", "2.0/mlflow/experiments/get", experiment_id="0")
        guessers = [threading.Thread(target=guess, args=(n,)) for n in range(2)]
        for guesser in guessers:
            guesser.start()
        try:
            eventually(lambda: statuses.count(429) > 300)
            for _ in range(50):
                root.ok("GET", "2.0/mlflow/experiments/get", experiment_id="0")
        finally:
            stop.set()
            for guesser in guessers:
                guesser.join()
    assert set(statuses) <= {401, 429, 503}
    assert PER_USER.burst <= statuses.count(401) < 6 * PER_USER.burst  # one more in 30 s
    assert len(served.audit()) < len(statuses)


def test_tokens(served: Users) -> None:
    """They end with the password. Other bearer headers are 401, not 500 as in MLflow."""

    def token(days: int, key: str = SECRET_KEY, ago_s: float = 0) -> str:
        ann = served.read(users.get, "ann")
        return Tokens(key, lambda: time.time() - ago_s).issue("ann", ann, days)

    good = token(1)
    assert served.get(authorization=f"Bearer {good}").status == 200
    for bad in (
        "Bearer",
        "Bearer x",
        "Bearer a.b.c",
        f"Bearer {good}x",
        f"Bearer {token(1, 'another key')}",
        f"Bearer {token(1, ago_s=86_401)}",
        f"Token {good}",
        basic("ann", good)["Authorization"],
    ):
        assert served.get(authorization=bad).status == 401, bad
    served.change(users.set_password_hash, "ann", hashed("another password of ann"))
    assert served.get(authorization=f"Bearer {good}").status == 401
    assert good not in served.server.log()
    assert "token from before a change of password" in {line["reason"] for line in served.audit()}


def test_a_proxy_logs_in(served: Users) -> None:
    """Users are made on first sight, and groups give and take roles."""
    role = served.change(roles.create, "team", "default", None)
    served.change(roles.create, "other", "default", None)
    answer = served.get(x_forwarded_user="bob", x_forwarded_groups="team,unknown")
    assert answer.status == 200
    bob = served.read(users.get, "bob")
    assert bob.password_hash.startswith("!") and not bob.is_admin
    (held,) = served.read(roles.held, [bob.id], (0, 0), 10)
    assert held.role == role
    assert served.get(x_forwarded_user="bob").status == 200
    assert served.read(roles.held, [bob.id], (0, 0), 10) == []
    for name in ("x" * 256, "a\tb", "\xff"):
        assert served.get(x_forwarded_user=name).status == 401
    # Without a name other credentials count, and the proxy's user wins over them.
    assert served.get(x_forwarded_user="", **basic("ann", "the password of ann")).status == 200
    assert served.get(x_forwarded_user="bob", **basic("ann", GUESS)).status == 200
    changes = [line for line in served.audit() if line["message"] == "changed"]
    assert [(line["action"], line["user"]) for line in changes] == [
        ("user.create", "bob"),
        ("role.assign", "bob"),
        ("role.unassign", "bob"),
    ]


def test_a_user_of_the_proxy_who_is_deleted_is_made_again(served: Users) -> None:
    assert served.get(x_forwarded_user="bob").status == 200
    first = served.read(users.get, "bob")
    token = Tokens(SECRET_KEY).issue("bob", first, 1)
    assert served.get(authorization=f"Bearer {token}").status == 200
    served.change(users.delete, "bob", ())
    eventually(lambda: served.get(x_forwarded_user="bob").status == 200)
    assert served.get(authorization=f"Bearer {token}").status == 401


def test_the_header_of_another_address_is_ignored(uri: str, tmp_path: Path) -> None:
    options = (*OPTIONS[:-1], "10.255.255.1")
    environment = auth_environment(tmp_path, uri)
    with headrace(uri, tmp_path, *APP, *options, environment=environment) as server:
        served = Users(uri, server)
        assert served.get(x_forwarded_user=ADMIN).status == 401
        assert served.audit()[-1]["reason"] == "header of a proxy from another network"
        assert served.get(x_forwarded_user="x", **basic(ADMIN, PASSWORD)).status == 200
        assert served.read(users.find, "x") is None


def test_metrics_have_a_token_of_their_own(served: Users) -> None:
    scrape = {"authorization": f"Bearer {METRICS_TOKEN}"}
    assert served.get("/metrics", **scrape).status == 200
    assert served.get("/metrics", **basic("ann", "the password of ann")).status == 200
    assert served.get("/metrics").status == 401
    assert served.get("/metrics", authorization="Bearer x").status == 401
    assert served.get(**scrape).status == 401
    for path in ("/livez", "/readyz", "/health"):
        assert served.get(path).status == 200
        assert served.get(path, authorization="Basic !").status == 200


def test_without_users_a_token_protects_metrics_too(uri: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(METRICS_TOKEN)
    with headrace(uri, tmp_path, "--metrics-token-file", str(tmp_path / "token")) as server:
        served = Users(uri, server)
        assert served.get("/metrics").status == 401
        assert served.get("/metrics", authorization=f"Bearer {METRICS_TOKEN}").status == 200
        assert served.get().status == 200
        assert METRICS_TOKEN not in server.log()


def test_the_published_password_is_no_login_of_an_admin(served: Users) -> None:
    served.change(users.create, "old", hashed("password1234"), True)
    assert served.get(**basic("old", "password1234")).status == 401
    served.change(users.set_admin, "old", False)
    assert served.get(**basic("old", "password1234")).status == 200
    served.change(users.set_admin, "old", True)
    assert served.get(**basic("old", "password1234")).status == 401


ODD = [
    "Basic",
    "Basic =",
    "Basic ====",
    "Basic YQ",
    "Basic " + "A" * 20_000,
    "Basic " + base64.b64encode(b"\0:\0").decode(),
    "Basic " + base64.b64encode("\U0001f600:".encode()).decode(),
    "Basic " + base64.b64encode(b"'; DROP TABLE users; --:x").decode(),
    "Basic \xe9",
    "basic\t",
    "Bearer " + "A" * 20_000,
    "Bearer hrt1_" + "A" * 20_000,
    "Bearer hrt1_" + "/" * 100,
    "\x7f",
    ",",
    "Basic YTpi, Basic YTpi",
]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_odd_headers_are_401(served: Users, value: str) -> None:
    assert served.get(authorization=value).status in (400, 401)
    assert served.get(x_forwarded_user=value).status in (200, 400, 401)
