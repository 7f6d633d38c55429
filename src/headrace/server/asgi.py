"""`headrace.server.asgi:app`: the application for any ASGI server; settings come from the environment."""

from __future__ import annotations

import os

from headrace.http.app import create_app
from headrace.http.asgi import Application
from headrace.settings.load import load_handed_over


def factory() -> Application:
    """A new application with the settings of the environment (for `uvicorn --factory`).

    `mlflow server --app-name headrace` finds it by the entry point in pyproject.toml.
    """
    return Application(create_app(load_handed_over(os.environ)))


def __getattr__(name: str) -> Application:
    if name == "app":
        application = factory()
        globals()["app"] = application
        return application
    raise AttributeError(name)
