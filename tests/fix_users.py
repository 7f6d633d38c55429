"""Users: their database opened beside a tracking database, servers with users, and their clients."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.fix_server import stock_uri
from tests.wire import Wire

from headrace.auth.open import open_accounts
from headrace.db.open import open_database
from headrace.settings.auth import AuthSettings
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.wire import Answer

    from headrace.auth.open import Accounts

ADMIN = "root"
PASSWORD = "a right long password"


@asynccontextmanager
async def accounts_in(tracking: str, users: str | None = None) -> AsyncIterator[Accounts]:
    """The users in the database `users`, by default in the tracking database."""
    auth = AuthSettings("READ", users or tracking)
    settings = Settings(backend_store_uri=tracking, auth=auth)
    db = await open_database(settings)
    try:
        accounts = await open_accounts(settings, db)
        try:
            yield accounts
        finally:
            await accounts.close()
    finally:
        await db.close()


def auth_environment(directory: Path, users_uri: str, **keys: str) -> dict[str, str]:
    """The environment of a server with users, headrace or stock; `keys` are more keys of its file."""
    path = directory / "auth.ini"
    values = {
        "default_permission": "READ",
        "database_uri": stock_uri(users_uri),
        "admin_username": ADMIN,
        "admin_password": PASSWORD,
        **keys,
    }
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in values.items()]
    path.write_text("\n".join(["[mlflow]", *lines, ""]))
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(path),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "the key of the servers",
    }


class Person(Wire):
    """A connection that sends a user's name and password with every request."""

    def __init__(self, url: str, username: str = "root", password: str = PASSWORD) -> None:
        super().__init__(url)
        pair = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._headers = {"authorization": f"Basic {pair}", "content-type": "application/json"}

    def send(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send any request; with `_` for `-` in the names of headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(method, target, body, self._headers | sent)

    def call(self, method: str, path: str, **fields: Any) -> Answer:
        """Send the fields to `/api/PATH`: in the query of a GET, else as JSON."""
        target = f"/api/{path}"
        if method == "GET":
            return self.ask(method, f"{target}?{urlencode(fields)}", None, self._headers)
        return self.ask(method, target, json.dumps(fields).encode(), self._headers)

    def ok(self, method: str, path: str, **fields: Any) -> Any:
        """The decoded answer of a request that must succeed."""
        answer = self.call(method, path, **fields)
        assert answer.status == 200, f"{method} {path}: {answer}"
        return answer.json()
