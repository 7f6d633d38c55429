"""Settings of `mlflow server` that mean nothing here: understood, so that its command lines run unchanged.

The other rows of the table, and what a row is, are in config.py and setting.py.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from headrace.settings.kinds import (
    DIRECTORY,
    SWITCH,
    TEXT,
    URI,
    Kind,
    application,
    existing_file,
    integer,
    row,
)

ACCEPTED: Final = "Accepted for compatibility"


@dataclasses.dataclass(frozen=True)
class AcceptedSettings:
    """The rows. Their `note` is said when one is used; `checks` refuses what must not be ignored."""

    read_replica_backend_store_uri: str | None = row(
        ACCEPTED,
        None,
        URI,
        "--read-replica-backend-store-uri MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
        "A read-only copy of the database.",
        note="reads also use --backend-store-uri: answers are right, the replica stays idle",
        handed_over="_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE",
    )
    expose_prometheus: str | None = row(
        ACCEPTED,
        None,
        DIRECTORY,
        "--expose-prometheus MLFLOW_EXPOSE_PROMETHEUS",
        "Answer GET /metrics, include MLflow's name for the number of requests beside headrace's "
        "own, and keep the counters in this directory across restarts. --metrics needs no "
        "directory.",
        handed_over="prometheus_multiproc_dir",
    )
    gunicorn_opts: str | None = row(
        ACCEPTED,
        None,
        TEXT,
        "--gunicorn-opts MLFLOW_GUNICORN_OPTS",
        "Options of gunicorn.",
        note="gunicorn is not used here, and no worker timeout ends requests",
    )
    waitress_opts: str | None = row(
        ACCEPTED,
        None,
        TEXT,
        "--waitress-opts",
        "Options of waitress.",
        note="waitress is not used here",
    )
    uvicorn_opts: str | None = row(
        ACCEPTED,
        None,
        TEXT,
        "--uvicorn-opts MLFLOW_UVICORN_OPTS",
        "Options of uvicorn.",
        note="uvicorn is not used here; see --log-level and --keep-alive-timeout-s",
    )
    dev: bool = row(
        ACCEPTED,
        False,
        SWITCH,
        "--dev",
        "Reload when code changes.",
        note="code is not reloaded here; for more output use --log-level debug",
    )
    trace_archival_config: str | None = row(
        ACCEPTED,
        None,
        Kind("PATH", existing_file),
        "--trace-archival-config MLFLOW_TRACE_ARCHIVAL_CONFIG",
        "YAML file that configures trace archival.",
        note="traces are not archived here: all of them stay in the database",
    )
    secrets_cache_ttl_s: int = row(
        ACCEPTED,
        60,
        integer(10, 300),
        "--secrets-cache-ttl",
        "Time for which MLflow's AI gateway, across the bridge, caches a decrypted secret.",
        handed_over="MLFLOW_SERVER_SECRETS_CACHE_TTL",
    )
    secrets_cache_max_entries: int = row(
        ACCEPTED,
        1000,
        integer(1, 10_000),
        "--secrets-cache-max-size",
        "Number of decrypted secrets that MLflow's AI gateway, across the bridge, caches.",
        handed_over="MLFLOW_SERVER_SECRETS_CACHE_MAX_SIZE",
    )
    workspace_store_uri: str | None = row(
        ACCEPTED,
        None,
        URI,
        "--workspace-store-uri MLFLOW_WORKSPACE_STORE_URI",
        "The database of workspaces.",
        note="there are no workspaces here",
    )
    enable_workspaces: bool = row(
        ACCEPTED,
        False,
        SWITCH,
        "--enable-workspaces/--disable-workspaces MLFLOW_ENABLE_WORKSPACES",
        "Separate tenants by workspace. Refused, because headrace would show all data to everyone.",
    )
    app_name: str | None = row(
        ACCEPTED,
        None,
        Kind("NAME", application),
        "--app-name",
        "Another application, such as basic-auth. Refused, because headrace would let everyone in.",
    )
    sqlalchemy_pool_size: str | None = row(
        ACCEPTED,
        None,
        TEXT,
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW",
        "Size of SQLAlchemy's connection pool.",
        note="SQLAlchemy is not used here; see --postgres-connections",
    )
