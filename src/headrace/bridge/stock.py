"""Starts stock MLflow on a loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
import uuid
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from headrace.bridge import client, gate
from headrace.bridge.routes import JOBS_SEARCH
from headrace.bridge.shared_state import ALIVE_BYTE
from headrace.contract import secret_text
from headrace.contract.errors import ApiError, ErrorCode
from headrace.db.uri import hosts_in_query
from headrace.settings.defaults import scheme_of
from headrace.storage.locations import local_roots

if TYPE_CHECKING:
    from headrace.bridge.package import Package
    from headrace.bridge.shared_state import SharedState
    from headrace.settings.auth import AuthSettings
    from headrace.settings.table import Settings

log = logging.getLogger(__name__)

WATCHDOG: Final = Path(__file__).with_name("watchdog.py")
START_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.1
LONGEST_TICK_S: Final = 15.0  # how often a long request marks MLflow as in use
STEADY_S: Final = 60.0  # an unexpected end within this time after the start counts as a failure
KEEP_ALIVE_S: Final = 75  # of stock's idle connections; the bridge closes them earlier
# Options of `mlflow server` for its own listening sockets, which do not apply behind the bridge.
FRONT_DOOR: Final = (
    "MLFLOW_APP_NAME",
    "MLFLOW_GUNICORN_OPTS",
    "MLFLOW_HOST",
    "MLFLOW_PORT",
    "MLFLOW_UVICORN_OPTS",
    "MLFLOW_WORKERS",
    "UVICORN_",
    "WEB_CONCURRENCY",
)
# Variables from which anyone who can read the environment of a job could become another user.
OWN_SECRETS: Final = ("MLFLOW_AUTH_", "MLFLOW_FLASK_SERVER_SECRET_KEY")
# MLflow reads from a replica whatever its lag, so behind the bridge it uses the primary.
REPLICA: Final = (
    "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
    "_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE",
)
# headrace has no other database of workspaces.
WORKSPACES: Final = ("MLFLOW_WORKSPACE_STORE_URI",)
APP_NAME: Final = "headrace-bridge"  # an entry point in pyproject.toml: bridge/gate.py
FAILED: Final = (
    "MLflow itself serves this route, but it did not start or ended soon after. Its output is "
    "in headrace's log. headrace will start it again after a pause."
)
SERVER_OPTIONS: Final = f"--log-level warning --timeout-keep-alive {KEEP_ALIVE_S}"


class StockProcess:
    """The process of one kind of stock MLflow (with or without job runners), shared by all workers."""

    def __init__(
        self,
        settings: Settings,
        state: SharedState,
        *,
        with_jobs: bool,
    ) -> None:
        self._settings = settings
        self._state = state
        self._with_jobs = with_jobs
        self._tick_s = min(LONGEST_TICK_S, settings.bridge_idle_timeout_s / 4)
        self._starting = asyncio.Lock()

    @property
    def secret(self) -> str:
        """The secret that MLflow requires in every request."""
        return self._state.secret

    async def keep_in_use(self) -> None:
        """Keep MLflow from stopping as idle, until cancelled."""
        while True:
            self._state.mark_used()
            await asyncio.sleep(self._tick_s)

    async def port(self, package: Package, why: str, *, not_port: int = 0) -> int:
        """The port of MLflow. Starts it when it does not run, or when its port was `not_port`.

        `why` is the reason, for the log. Raises NOT_IMPLEMENTED (501), which clients do not retry,
        when it cannot be started.
        """
        self._state.mark_used()
        port = self._state.port
        if port and port != not_port:
            return port
        async with self._starting:
            while not self._state.try_lock():
                await asyncio.sleep(POLL_S)
            try:
                port = self._state.port
                if port and port != not_port:
                    return port
                self._state.port = 0
                self._state.port = port = await self._start(package, why)
                return port
            finally:
                self._state.unlock()

    async def _start(self, package: Package, why: str) -> int:
        began_s = monotonic()
        if self._state.pause_s:
            raise ApiError(ErrorCode.NOT_IMPLEMENTED, FAILED)
        port = _free_port()
        log.info("starting MLflow %s for %s", package.version, why)
        process = await asyncio.to_thread(self._launch, package, port)
        # A daemon thread, because headrace may end before the process.
        threading.Thread(target=_note_end, args=(process, self._state), daemon=True).start()
        with contextlib.ExitStack() as unless_ready:
            unless_ready.callback(process.terminate)
            while not await client.is_healthy(
                port, self._settings.static_prefix or "", self._state.secret
            ):
                if process.poll() is not None:
                    raise self._fail(f"it ended with exit code {process.returncode}")
                if monotonic() - began_s > START_TIMEOUT_S:
                    raise self._fail(f"it did not answer within {START_TIMEOUT_S:g} s")
                self._state.mark_used()
                await asyncio.sleep(POLL_S)
            unless_ready.pop_all()
        log.info("MLflow answers on port %d after %.1f s", port, monotonic() - began_s)
        return port

    def _fail(self, reason: str) -> ApiError:
        self._state.failed()
        log.error("MLflow did not start: %s", reason)
        return ApiError(ErrorCode.NOT_IMPLEMENTED, FAILED)

    def _launch(self, package: Package, port: int) -> subprocess.Popen[bytes]:
        state_fd = self._state.state_fd
        idle_s = str(self._settings.bridge_idle_timeout_s)
        prefix = self._settings.static_prefix or ""
        jobs_url = "-"
        if self._with_jobs:
            jobs_url = f"http://127.0.0.1:{port}{prefix}{JOBS_SEARCH}"
        watchdog = [sys.executable, "-I", "-S", str(WATCHDOG), str(state_fd), str(ALIVE_BYTE)]
        mlflow = command(package, port, with_jobs=self._with_jobs)
        return subprocess.Popen(
            [*watchdog, idle_s, jobs_url, *mlflow],
            pass_fds=(state_fd,),
            env=environment(self._settings, self._state.secret, with_jobs=self._with_jobs),
            stdin=self._state.watchdog_end,
            start_new_session=True,  # Ctrl+C in a terminal must reach only headrace
        )


def command(package: Package, port: int, *, with_jobs: bool) -> list[str]:
    """The command that starts MLflow. Its settings are in its environment, where `ps` shows no password.

    MLflow's ASGI application alone needs 0.3 GB and 5 s to start; `mlflow server` 0.6 GB and 9 s
    without job runners, 2.8 GB and 13 s with them.
    """
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    if package.has_asgi_app and not with_jobs:
        options = [*SERVER_OPTIONS.split(), "--factory", "headrace.bridge.gate:factory"]
        return [sys.executable, "-m", "uvicorn", *where, *options]
    server = [sys.executable, "-m", "mlflow", "server", *where, "--app-name", APP_NAME]
    return [*server, "--uvicorn-opts", SERVER_OPTIONS] if package.has_asgi_app else server


def environment(settings: Settings, secret: str, *, with_jobs: bool) -> dict[str, str]:
    """The environment of the MLflow process: that of headrace, and the settings of both."""
    omitted = ("HEADRACE_", *FRONT_DOOR, *OWN_SECRETS, *REPLICA, *WORKSPACES)
    env = {k: v for k, v in os.environ.items() if not k.startswith(omitted)}
    uri = for_sqlalchemy(settings.backend_store_uri)
    registry = for_sqlalchemy(settings.registry_store_uri)
    shared = {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "_MLFLOW_SERVER_FILE_STORE": uri,
        # The database of the gateway's calls. `mlflow server` sets it too, but not the application alone.
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_REGISTRY_STORE_URI": registry,
        "_MLFLOW_SERVER_REGISTRY_STORE": registry,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": settings.default_artifact_root,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": settings.default_artifact_root,
        "MLFLOW_SERVE_ARTIFACTS": "true" if settings.serve_artifacts else "false",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true" if settings.serve_artifacts else "",
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts_destination,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": settings.artifacts_destination,
        "MLFLOW_STATIC_PREFIX": settings.static_prefix or "",
        "_MLFLOW_STATIC_PREFIX": settings.static_prefix or "",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",  # headrace checks the host, and the gate admits no other client
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": settings.cors_allowed_origins or "",
        "MLFLOW_SERVER_X_FRAME_OPTIONS": settings.x_frame_options,
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": str(
            settings.disable_security_middleware
        ).lower(),
        "MLFLOW_SERVER_SECRETS_CACHE_TTL": str(settings.secrets_cache_ttl_s),
        "MLFLOW_SERVER_SECRETS_CACHE_MAX_SIZE": str(settings.secrets_cache_max_entries),
        "MLFLOW_ENABLE_WORKSPACES": str(settings.enable_workspaces).lower(),
        "MLFLOW_TRACE_ARCHIVAL_CONFIG": settings.trace_archival_config or "",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": secret_text.key_of(settings),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": str(with_jobs).lower(),
        "_MLFLOW_SERVER_BOOT_ID": uuid.uuid4().hex,
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "PYTHONWARNINGS": env.get("PYTHONWARNINGS", "ignore"),
        gate.SECRET_VARIABLE: secret,
        gate.ROOTS_VARIABLE: json.dumps(local_roots(settings)),
    }
    if settings.auth is not None:
        shared |= _users_environment(settings.auth, with_jobs=with_jobs)
    elif with_jobs:  # jobs are clients of this MLflow
        shared |= {"MLFLOW_TRACKING_USERNAME": gate.USER, "MLFLOW_TRACKING_PASSWORD": secret}
    return {name: value for name, value in {**env, **shared}.items() if value}


def _users_environment(auth: AuthSettings, *, with_jobs: bool) -> dict[str, str]:
    uri = for_sqlalchemy(auth.database_uri)
    users = gate.AuthDatabase(uri, auth.default_permission, auth.grant_default_workspace_access)
    return {
        gate.USERS_VARIABLE: json.dumps(users),
        # headrace has migrated the database and created the admin.
        "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        # MLflow requires a key, for a form that headrace serves. headrace signs tokens with its own.
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        gate.JOB_TOKEN_VARIABLE: secrets.token_hex(32) if with_jobs else "",
    }


def for_sqlalchemy(uri: str) -> str:
    """A database URI for SQLAlchemy, which must name the installed driver, and several hosts in its query."""
    if scheme_of(uri) not in ("postgres", "postgresql"):
        return uri
    uri = hosts_in_query(uri)
    scheme, _, rest = uri.partition("://")
    if "+" in scheme:
        return uri
    driver = "psycopg" if find_spec("psycopg") is not None else "psycopg2"
    return f"postgresql+{driver}://{rest}"


def _note_end(process: subprocess.Popen[bytes], state: SharedState) -> None:
    # The next request starts MLflow again, unless it ends repeatedly.
    began_s = monotonic()
    code = process.wait()
    if code:
        log.error("MLflow ended unexpectedly (exit code %d)", code)
    else:
        log.info("MLflow was stopped")
    if code and monotonic() - began_s < STEADY_S:
        state.failed(first_is_free=True)
    else:
        state.forget_failures()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
