"""Real server processes for tests: headrace, and stock `mlflow server`, each on a free port.

The fixtures wait until a server answers, show the end of its log if it does not start, and always kill its whole
process group.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
READY_S = 90  # stock MLflow needs up to 25 s on two busy cores, plus migrations
STOP_S = 10
LOG_TAIL_CHARACTERS = 6000

# By default stock starts four job runners of 250 MB each, and sends telemetry to the internet.
STOCK_ENVIRONMENT = {
    "MLFLOW_MODEL_CATALOG_URI": "",  # it would ask a server on the internet for models
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "PYTHONWARNINGS": "ignore",
}


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# Kills the registered process groups when its standard input ends, which also happens when the tests are killed
# and cannot tear down their fixtures.
REAPER = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


@functools.cache
def reaper() -> subprocess.Popen[str]:
    """The one process that outlives the tests, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-S", "-c", REAPER],
        stdin=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,
    )


def tell_reaper(sign: str, group: int) -> None:
    """`+`: kill that process group if the tests end now; `-`: it has ended."""
    pipe = reaper().stdin
    assert pipe is not None, "the reaper was started with a pipe"
    pipe.write(f"{sign}{group}\n")


class Server:
    """A running server process (group) that answers at `url`; `directory` is its working directory."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        directory: Path,
        environment: dict[str, str],
        port: int,
    ) -> None:
        self.name = name
        self.directory = directory
        self.url = f"http://127.0.0.1:{port}"
        self._prefix = argv[argv.index("--static-prefix") + 1] if "--static-prefix" in argv else ""
        self.log_path = directory / f"{name}-{port}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        tell_reaper("+", self.process.pid)

    def wait_until_ready(self) -> None:
        """Return when /health answers 200; raise RuntimeError with the log if the process ends or takes too long."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"{self.name} exited with {self.process.returncode}\n{self._end_of_log()}"
                )
            with contextlib.suppress(OSError), Wire(self.url) as wire:
                if wire.ask("GET", f"{self._prefix}/health").status == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} was not ready after {READY_S} s\n{self._end_of_log()}")

    def log(self) -> str:
        """The server's log so far."""
        return self.log_path.read_text(errors="replace")

    def _end_of_log(self) -> str:
        return self.log()[-LOG_TAIL_CHARACTERS:]

    def stop(self) -> None:
        """Send SIGTERM, then SIGKILL to the rest of the process group."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the whole process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        tell_reaper("-", self.process.pid)


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Wait until the server is ready; stop it at the end of the block."""
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def base_environment() -> dict[str, str]:
    """The environment of a child process: ours, without any MLflow or headrace setting."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HEADRACE_"))}
    source = str(ROOT / "src")
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (source, kept.get("PYTHONPATH"))))
    return kept


def headrace(
    uri: str,
    directory: Path,
    *options: str,
    environment: dict[str, str] | None = None,
    port: int | None = None,
) -> contextlib.AbstractContextManager[Server]:
    """A headrace server on that database."""
    port = port or free_port()
    argv = [sys.executable, "-m", "headrace.commands.cli", "server", "--backend-store-uri", uri]
    argv += ["--host", "127.0.0.1", "--port", str(port), *options]
    env = base_environment() | (environment or {})
    return running(Server("headrace", argv, directory, env, port))


def stock(
    uri: str,
    directory: Path,
    *options: str,
    environment: dict[str, str] | None = None,
    python: str = sys.executable,
) -> contextlib.AbstractContextManager[Server]:
    """A stock `mlflow server` (one worker) on that database, of the MLflow of that Python."""
    port = free_port()
    argv = [python, "-m", "mlflow", "server", "--backend-store-uri", stock_uri(uri)]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", *options]
    env = base_environment() | STOCK_ENVIRONMENT | (environment or {})
    return running(Server("stock", argv, directory, env, port))


def stock_uri(uri: str) -> str:
    """The database URI with the driver that the tests' environment has for SQLAlchemy."""
    return uri.replace("postgresql://", "postgresql+psycopg2://", 1)


def raise_keyboard_interrupt(*_: object) -> None:
    """SIGTERM ends a test run as Ctrl-C does, so that fixtures are torn down and servers killed."""
    raise KeyboardInterrupt


@pytest.fixture(scope="session", autouse=True)
def no_server_outlives_the_session() -> Iterator[None]:
    """Make SIGTERM tear the fixtures down instead of leaving their processes behind."""
    previous = signal.signal(signal.SIGTERM, raise_keyboard_interrupt)
    yield
    signal.signal(signal.SIGTERM, previous)
    if reaper.cache_info().currsize:
        reaper().communicate(timeout=STOP_S)
