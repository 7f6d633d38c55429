"""`headrace.server.asgi:app`: the application for any ASGI server, with settings from the environment."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import click

from headrace.db.schema.facts import UnusableDatabase
from headrace.http.app import create_app, open_databases
from headrace.http.asgi import Application
from headrace.settings.defaults import DEFAULT_URI
from headrace.settings.kinds import SettingError
from headrace.settings.load import app_name_of, load, load_handed_over
from headrace.settings.validate import validate_server

if TYPE_CHECKING:
    from collections.abc import Mapping


def _factory() -> Application:
    """Create an application with the settings of the environment, as `uvicorn --factory` does.

    `mlflow server --app-name headrace` calls it, as `factory`, through the entry point in pyproject.toml.
    """
    return Application(create_app(load_handed_over(os.environ)))


def __getattr__(name: str) -> Any:
    if name == "app":
        application = _factory()
        globals()["app"] = application
        return application
    if name == "factory":
        # `mlflow server` looks `factory` up before it starts workers. An error there ends the
        # command; a worker that fails to start would be replaced for ever.
        if app_name_of(os.environ) is not None and not _is_in_event_loop():
            _prepare_users(os.environ)
        return _factory
    raise AttributeError(name)


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _prepare_users(environ: Mapping[str, str]) -> None:
    """Make the tables of users and the first admin. Raises ClickException.

    The tracking database is not known yet: `mlflow server` passes it to the workers only.
    """
    flags: dict[str, str | bool | None] = {
        "app_name": app_name_of(environ),
        "backend_store_uri": DEFAULT_URI,
        "artifacts_only": True,
    }

    async def open_and_close() -> None:
        _, accounts = await open_databases(settings, bootstrap=True)
        if accounts is not None:
            await accounts.close()

    try:
        settings = load(flags, environ)
        validate_server(settings)
        asyncio.run(open_and_close())
    except (SettingError, UnusableDatabase) as error:
        raise click.ClickException(str(error)) from error
