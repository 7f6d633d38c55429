"""`headrace.server.asgi:app`: the application for any ASGI server, with settings from the environment."""

from __future__ import annotations

import os

from headrace.http.app import create_app
from headrace.http.asgi import Application
from headrace.settings.load import load_handed_over


def factory() -> Application:
    """Create an application with the settings of the environment, as `uvicorn --factory` does.

    `mlflow server --app-name headrace` calls it through the entry point in pyproject.toml.
    """
    return Application(create_app(load_handed_over(os.environ)))


def __getattr__(name: str) -> Application:
    if name == "app":
        application = factory()
        globals()["app"] = application
        return application
    raise AttributeError(name)
