"""Servers with users: a configuration file of MLflow's basic-auth app, and a client for each user."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tests.fix_server import headrace, stock, stock_uri

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.fix_server import Server

ADMIN = "admin"
ADMIN_PASSWORD = "admin-password"


def password_of(user: str) -> str:
    """The password of every user of the tests."""
    return f"{user}-password"


def credentials(user: str, password: str | None = None) -> dict[str, str]:
    """The header Authorization of a user, by default with the right password."""
    text = f"{user}:{password_of(user) if password is None else password}"
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def auth_environment(
    directory: Path, database_uri: str, default_permission: str = "READ", cache_s: int = 0
) -> dict[str, str]:
    """The variables of a server with users; writes its configuration file into the directory.

    `cache_s`: for how long stock remembers passwords.
    """
    path = directory / "auth.ini"
    escaped = database_uri.replace("%", "%%")
    path.write_text(
        f"[mlflow]\ndefault_permission = {default_permission}\ndatabase_uri = {escaped}\n"
        f"admin_username = {ADMIN}\nadmin_password = {ADMIN_PASSWORD}\n"
        f"auth_cache_ttl_seconds = {cache_s}\n"
    )
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(path),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "the secret key of the tests",
    }


def headrace_with_users(
    uri: str,
    directory: Path,
    users_uri: str,
    *options: str,
    default_permission: str = "READ",
    cache_s: int = 0,
) -> AbstractContextManager[Server]:
    """A headrace server with users."""
    environment = auth_environment(directory, users_uri, default_permission, cache_s)
    return headrace(uri, directory, "--app-name", "basic-auth", *options, environment=environment)


def stock_with_users(
    uri: str,
    directory: Path,
    users_uri: str,
    *options: str,
    default_permission: str = "READ",
    cache_s: int = 0,
) -> AbstractContextManager[Server]:
    """A stock server with users."""
    environment = auth_environment(directory, stock_uri(users_uri), default_permission, cache_s)
    return stock(uri, directory, "--app-name", "basic-auth", *options, environment=environment)
