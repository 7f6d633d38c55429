"""The watchdog, which ends stock MLflow and all its descendants when it is idle or headrace has ended."""

from __future__ import annotations

import fcntl
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.processes import has_ended
from tests.waiting import eventually

from headrace.bridge.shared_state import ALIVE_BYTE
from headrace.bridge.stock import WATCHDOG

if TYPE_CHECKING:
    from collections.abc import Iterator

END_S = 30.0
# A command that starts a child in a session of its own, as MLflow's job runners do, and ignores SIGTERM.
FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


class Watchdog:
    """A running watchdog; `use` writes to its pipe, `leave` closes the last write end."""

    def __init__(self, command: list[str], idle_s: float, jobs_url: str = "-") -> None:
        self.state = tempfile.TemporaryFile()  # noqa: SIM115
        read_end, self._write_end = os.pipe()
        fd = self.state.fileno()
        watchdog = [sys.executable, "-I", "-S", str(WATCHDOG), str(fd), str(ALIVE_BYTE)]
        self.process = subprocess.Popen(
            [*watchdog, str(idle_s), jobs_url, *command],
            stdin=read_end,
            stdout=subprocess.PIPE,
            pass_fds=(fd,),
            start_new_session=True,
        )
        os.close(read_end)

    def use(self) -> None:
        os.write(self._write_end, b".")

    def leave(self) -> None:
        os.close(self._write_end)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode()

    def lives(self) -> bool:
        """Whether it holds its lock, as other processes see it."""
        try:
            fcntl.lockf(self.state.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, ALIVE_BYTE)
        except OSError:
            return True
        fcntl.lockf(self.state.fileno(), fcntl.LOCK_UN, 1, ALIVE_BYTE)
        return False

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.state.close()


@contextmanager
def watchdog(command: list[str], idle_s: float, jobs_url: str = "-") -> Iterator[Watchdog]:
    started = Watchdog(command, idle_s, jobs_url)
    try:
        yield started
    finally:
        started.end()


def sleeper() -> list[str]:
    return [sys.executable, "-c", "import time; time.sleep(600)"]


def test_it_ends_an_unused_command() -> None:
    with watchdog(sleeper(), idle_s=1) as running:
        assert running.process.wait(END_S) == 0
        assert not running.lives()


def test_it_waits_while_it_is_used() -> None:
    with watchdog(sleeper(), idle_s=4) as running:
        began = time.monotonic()
        while time.monotonic() - began < 6:
            running.use()
            time.sleep(0.2)
            assert running.process.poll() is None, "ended although it was used"
        assert running.lives()
        running.process.wait(END_S)


def test_it_ends_all_descendants_when_no_process_uses_it() -> None:
    """Even those in sessions of their own, and those that ignore SIGTERM."""
    with watchdog([sys.executable, "-c", FAMILY], idle_s=600) as running:
        grandchild = int(running.line())
        running.leave()
        running.process.wait(END_S)
        eventually(lambda: has_ended(grandchild), END_S, what="the grandchild ends")


def test_it_ends_all_descendants_when_it_is_told_to() -> None:
    with watchdog([sys.executable, "-c", FAMILY], idle_s=600) as running:
        grandchild = int(running.line())
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(END_S)
        eventually(lambda: has_ended(grandchild), END_S, what="the grandchild ends")


def test_it_tells_how_a_command_ended_by_itself() -> None:
    for code, expected in [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)]:
        with watchdog([sys.executable, "-c", f"import os, sys; {code}"], idle_s=600) as running:
            assert running.process.wait(END_S) == expected


def test_a_job_that_runs_counts_as_use() -> None:
    asked: list[Any] = []
    jobs: list[dict[str, str]] = [{"job_id": "1", "status": "RUNNING"}]

    class Jobs(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            body = json.dumps({"jobs": jobs}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Jobs) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/jobs"
        with watchdog(sleeper(), idle_s=1, jobs_url=url) as running:
            eventually(lambda: len(asked) >= 2, END_S, what="it asks before it ends anything")
            assert asked[0] == {"statuses": ["PENDING", "RUNNING"]}
            assert running.process.poll() is None
            jobs.clear()
            assert running.process.wait(END_S) == 0
        server.shutdown()
