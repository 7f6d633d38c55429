"""Starting each server on a database, waiting until it is ready, and stopping it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks import null_server, peers
from benchmarks.answers import write_answers
from benchmarks.measure import die_with_parent, free_port, stop_tree
from benchmarks.seeds import Needs

READY_TIMEOUT_S: Final = 240
USERS_FILE: Final = "users.ini"  # in the working directory of a server
ADMIN: Final = "admin"
ADMIN_PASSWORD: Final = "the admin of a benchmark"
LOGIN: Final = {"MLFLOW_TRACKING_USERNAME": ADMIN, "MLFLOW_TRACKING_PASSWORD": ADMIN_PASSWORD}
POLL_S: Final = 0.01

Command = Callable[[str, int, Path], list[str]]


@dataclass(frozen=True)
class Server:
    """`command(uri, port, work)` starts it; `tables` names its schema for the seeds."""

    name: str
    title: str
    command: Command
    environment: dict[str, str]
    peer: peers.Peer | None = None
    databases: frozenset[str] = frozenset({"postgresql", "sqlite"})
    fasttrackml_tables: bool = False
    needs_database: bool = True
    health: str = "/health"
    has_users: bool = False
    offers: frozenset[Needs] = frozenset()
    has_indexes: bool = False  # optional ones of headrace

    def version(self) -> str:
        return self.peer.version() if self.peer else ""


class StartError(Exception):
    """The server exited or was not ready in time; the text is the end of its log."""


def _headrace(uri: str, port: int, work: Path) -> list[str]:
    artifacts = ["--artifacts-destination", os.fspath(work / "artifacts")]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    serve = [sys.executable, "-m", "headrace", "server", "--backend-store-uri", uri]
    return [*serve, *address, *artifacts]


def tune_command(uri: str, *, has_trigrams: bool) -> list[str]:
    """Return the command that creates headrace's optional indexes, after the data."""
    tune = [sys.executable, "-m", "headrace", "db", "tune", "--traces"]
    return [*tune, "--trace-text", uri] if has_trigrams else [*tune, uri]


def _mlflow(program: str, peer: peers.Peer) -> Command:
    def command(uri: str, port: int, work: Path) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(port)]
        binary = os.fspath(peer.binaries / program)
        return [binary, "server", "--backend-store-uri", uri, *address]

    return command


def _fasttrackml(uri: str, port: int, work: Path) -> list[str]:
    where = uri.replace("sqlite:///", "sqlite://")
    binary = os.fspath(peers.FASTTRACKML.binaries / "fml")
    return [binary, "server", "--database-uri", where, "--listen-address", f"127.0.0.1:{port}"]


def _null(uri: str, port: int, work: Path) -> list[str]:
    answers = work / "null-answers"
    write_answers(answers)
    return null_server.command(work, answers, port)


def headrace(source: Path = peers.ROOT, name: str = "headrace") -> Server:
    """Return headrace from a source tree."""
    environment = {"PYTHONPATH": os.fspath(source / "src")}
    return Server(name, name, _headrace, environment, offers=frozenset(Needs))


def _with_users(command: Command, *, remembers: bool = True) -> Command:
    """The command of a server with users, in the same database.

    `remembers`: MLflow keeps verified passwords for a minute; by default it hashes them each time.
    """

    def with_users(uri: str, port: int, work: Path) -> list[str]:
        ttl_s = 60 if remembers else 0
        (work / USERS_FILE).write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {uri.replace('%', '%%')}\n"
            f"admin_username = {ADMIN}\nauth_cache_ttl_seconds = {ttl_s}\n"
        )
        return [*command(uri, port, work), "--app-name", "basic-auth"]

    return with_users


def with_users(server: Server, name: str, title: str, *, remembers: bool = True) -> Server:
    """Return the server with users."""
    environment = server.environment | {
        "MLFLOW_AUTH_CONFIG_PATH": USERS_FILE,
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "the key of a benchmark",
    }
    return replace(
        server,
        name=name,
        title=title,
        command=_with_users(server.command, remembers=remembers),
        environment=environment,
        has_users=True,
    )


# Usage reports over a network would affect the measurement.
_SILENT: Final = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def _mlflow_environment(peer: peers.Peer) -> dict[str, str]:
    # Both start other `mlflow` and `python` processes by name.
    return {**_SILENT, "PATH": f"{peer.binaries}{os.pathsep}{os.environ.get('PATH', '')}"}


MLFLOW: Final = Server(
    "mlflow",
    "MLflow",
    _mlflow("mlflow", peers.MLFLOW),
    _mlflow_environment(peers.MLFLOW),
    peers.MLFLOW,
    offers=frozenset(Needs),
)
SERVERS: Final = (
    headrace(),
    with_users(headrace(), "headrace-users", "headrace, users"),
    replace(
        headrace(),
        name="headrace-indexes",
        title="headrace, optional indexes",
        has_indexes=True,
        databases=frozenset({"postgresql"}),
    ),
    MLFLOW,
    with_users(MLFLOW, "mlflow-users", "MLflow, users", remembers=False),
    with_users(MLFLOW, "mlflow-users-cache", "MLflow, users, cache"),
    Server(
        "mlflow-go",
        "mlflow-go",
        _mlflow("mlflow-go", peers.MLFLOW_GO),
        _mlflow_environment(peers.MLFLOW_GO),
        peers.MLFLOW_GO,
        offers=frozenset({Needs.REGISTRY}),
    ),
    Server(
        "fasttrackml",
        "FastTrackML",
        _fasttrackml,
        {},
        peers.FASTTRACKML,
        fasttrackml_tables=True,
    ),
    Server(
        "null", "null server", _null, {"PYTHONPATH": os.fspath(peers.ROOT)}, needs_database=False
    ),
)
BY_NAME: Final = {server.name: server for server in SERVERS}


def with_source(server: Server, source: Path, name: str) -> Server:
    return replace(server, name=name, title=name, environment=headrace(source).environment)


class RunningServer:
    """A started server; `ready_s` is the time from its start to its first healthy answer."""

    def __init__(self, server: Server, uri: str, work: Path) -> None:
        self.server = server
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        folder = work / f"server-{server.name}"
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log.txt"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HEADRACE_"))}
        started = time.perf_counter()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                server.command(uri, self.port, folder),
                env=clean | server.environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.pid = self._process.pid
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.ready_s = time.perf_counter() - started

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                end = self.log.read_text(errors="replace")[-2000:]
                raise StartError(f"{self.server.name} did not start:\n{end}")
            time.sleep(POLL_S)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.uri + self.server.health, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        stop_tree(self.pid)
        self._process.wait()

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
