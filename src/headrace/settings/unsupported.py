"""Settings of `mlflow server` that headrace accepts but does not support.

They let command lines of `mlflow server` run unchanged.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from headrace.settings.kinds import (
    SWITCH,
    TEXT,
    Kind,
    existing_file,
    integer,
    row,
)

UNSUPPORTED: Final = "Accepted for compatibility"


# Levels of the server in Go, and those of headrace.
GO_LEVELS: Final = {
    "panic": "error",
    "fatal": "error",
    "error": "error",
    "warn": "warning",
    "warning": "warning",
    "info": "info",
    "debug": "debug",
    "trace": "debug",
}


def go_options(value: str) -> str:
    """Check options such as `LogLevel=error,ShutdownTimeout=5s`."""
    for part in filter(None, map(str.strip, value.split(","))):
        name, mark, text = part.partition("=")
        if not mark:
            raise ValueError(f"'{part}' is not of the form NAME=VALUE")
        if name == "LogLevel" and text.lower() not in GO_LEVELS:
            raise ValueError(f"'{text}' is not one of {', '.join(GO_LEVELS)}")
    return value


def go_log_level(value: str | None) -> str | None:
    """Return headrace's level for the LogLevel among the options; None without one."""
    return next((GO_LEVELS[text] for name, text in _go_parts(value) if name == "LogLevel"), None)


def go_options_without_effect(value: str | None) -> list[str]:
    """Return the names of the options that headrace ignores."""
    return [name for name, _ in _go_parts(value) if name != "LogLevel"]


def _go_parts(value: str | None) -> list[tuple[str, str]]:
    parts = [part.strip().partition("=") for part in (value or "").split(",") if part.strip()]
    return [(name, text.lower()) for name, _, text in parts]


@dataclasses.dataclass(frozen=True)
class UnsupportedSettings:
    """The rows. A `note` is printed when its setting is used; `validate` rejects unsafe ones."""

    gunicorn_opts: str | None = row(
        UNSUPPORTED,
        None,
        TEXT,
        flags="--gunicorn-opts",
        env="MLFLOW_GUNICORN_OPTS",
        help="Options of gunicorn.",
        note="headrace does not use gunicorn, and no worker timeout ends requests",
    )
    waitress_opts: str | None = row(
        UNSUPPORTED,
        None,
        TEXT,
        flags="--waitress-opts",
        help="Options of waitress.",
        note="headrace does not use waitress",
    )
    uvicorn_opts: str | None = row(
        UNSUPPORTED,
        None,
        TEXT,
        flags="--uvicorn-opts",
        env="MLFLOW_UVICORN_OPTS",
        help="Options of uvicorn.",
        note="headrace does not use uvicorn; see --log-level and --keep-alive-timeout-s",
    )
    experimental_go: bool = row(
        UNSUPPORTED,
        False,
        SWITCH,
        flags="--experimental-go",
        help="Serve by MLflow's experimental server in Go.",
        note="headrace serves all requests itself",
    )
    experimental_go_opts: str | None = row(
        UNSUPPORTED,
        None,
        Kind("NAME=VALUE,…", go_options),
        flags="--experimental-go-opts",
        help="Options of MLflow's experimental server in Go. LogLevel counts unless --log-level is given.",
    )
    dev: bool = row(
        UNSUPPORTED,
        False,
        SWITCH,
        flags="--dev",
        help="Reload when code changes.",
        note="headrace does not reload code; use --log-level debug for more output",
    )
    trace_archival_config: str | None = row(
        UNSUPPORTED,
        None,
        Kind("PATH", existing_file),
        flags="--trace-archival-config",
        env="MLFLOW_TRACE_ARCHIVAL_CONFIG",
        help="YAML file that configures trace archival.",
        note="headrace does not archive traces: all of them stay in the database",
    )
    webhook_cache_ttl_s: int = row(
        UNSUPPORTED,
        60,
        integer(0, 86_400),
        env="MLFLOW_WEBHOOK_CACHE_TTL",
        help="Time for which stock MLflow caches the list of webhooks.",
        note="headrace reads the webhooks for every event, so a change takes effect immediately",
    )
    sql_trace_rollups_enabled: bool = row(
        UNSUPPORTED,
        False,
        SWITCH,
        env="MLFLOW_SQL_TRACE_ROLLUPS_ENABLED",
        help="Daily sums of trace metrics in tables of their own. Refused, because headrace does not "
        "note which days its writes change, so that MLflow would show old sums.",
    )
    sqlalchemy_pool_size: str | None = row(
        UNSUPPORTED,
        None,
        TEXT,
        env=("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW"),
        help="Size of SQLAlchemy's connection pool.",
        note="headrace does not use SQLAlchemy; see --postgres-connections",
    )
