"""Servers with users, headrace and stock, and connections that are logged in."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tests.fix_server import headrace
from tests.wire import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.fix_server import Server

ADMIN: Final = "admin"
ADMIN_PASSWORD: Final = "admin-password-1"
PASSWORD: Final = "a-long-password"  # of every other user
SECRET_KEY: Final = "a secret key of the tests"
OPTIONS: Final = ("--app-name", "basic-auth")


def basic(name: str, password: str | None = None) -> str:
    """The header Authorization of a user."""
    password = password or (ADMIN_PASSWORD if name == ADMIN else PASSWORD)
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def configuration(directory: Path, uri: str, default_permission: str = "READ") -> dict[str, str]:
    """The environment of a server whose users are in that database. Stock remembers passwords."""
    path = directory / "auth.ini"
    path.write_text(
        f"[mlflow]\ndefault_permission = {default_permission}\ndatabase_uri = {uri}\n"
        "admin_username = admin\nauth_cache_ttl_seconds = 3600\n"
    )
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(path),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": SECRET_KEY,
    }


class Client:
    """One connection to a server; each request names its user."""

    def __init__(self, url: str) -> None:
        self.wire = Wire(url)

    def ask(
        self,
        who: str | None,
        method: str,
        path: str,
        payload: Any = None,
        *,
        password: str | None = None,
        **headers: str,
    ) -> Answer:
        """Send a request with JSON, or without a body."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if who is not None:
            sent["Authorization"] = basic(who, password)
        body = None
        if payload is not None:
            body = json.dumps(payload).encode()
            sent.setdefault("Content-Type", "application/json")
        return self.wire.ask(method, path, body, sent)

    def ok(self, who: str, method: str, path: str, payload: Any = None) -> Any:
        """The JSON of an answer that must be 200."""
        answer = self.ask(who, method, path, payload)
        assert answer.status == 200, f"{who} {method} {path}: {answer}"
        return answer.json()

    def add_user(self, *names: str) -> None:
        """Users with `PASSWORD`."""
        for name in names:
            payload = {"username": name, "password": PASSWORD}
            self.ok(ADMIN, "POST", "/api/2.0/mlflow/users/create", payload)

    def close(self) -> None:
        """Drop the connection."""
        self.wire.close()


@contextmanager
def with_users(
    uri: str,
    directory: Path,
    *options: str,
    start: Callable[..., AbstractContextManager[Server]] = headrace,
    users_uri: str | None = None,
    default_permission: str = "READ",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A server with users, by default in the tracking database."""
    users_uri = users_uri or uri
    if start is not headrace:
        users_uri = users_uri.replace("postgresql://", "postgresql+psycopg2://", 1)
    variables = configuration(directory, users_uri, default_permission) | dict(environment or {})
    with start(uri, directory, *OPTIONS, *options, environment=variables) as server:
        yield server
