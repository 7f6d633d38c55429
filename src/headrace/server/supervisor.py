"""Several worker processes on one listening socket, which a supervisor starts, replaces and drains.

SIGTERM starts the drain of a worker, and further ones have no effect: some process managers signal
the whole group, and the supervisor forwards the signal too. A worker also drains when its
supervisor ends.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import struct
import sys
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

log = logging.getLogger(__name__)
SHORT_LIFE_S: Final = 10.0  # a worker that ends sooner is replaced after a growing delay
FIRST_DELAY_S: Final = 0.1
MAX_DELAY_S: Final = 5.0
GRACE_S: Final = 5.0  # between the drain timeout and SIGKILL
NEVER: Final = float("inf")
_PROCESS_ID: Final = struct.Struct("i")


@dataclass(frozen=True)
class Link:
    """A worker's end of the pipes to its supervisor, whose end makes `alive_fd` readable."""

    alive_fd: int
    ready_fd: int

    def ready(self) -> None:
        """Report that this worker accepts requests."""
        os.write(self.ready_fd, _PROCESS_ID.pack(os.getpid()))


@dataclass
class Worker:
    """A running worker process."""

    slot: int
    started_s: float
    ready: bool = False


class Supervisor:
    """Keeps `count` processes running, each of which calls `run(link)`.

    `run` returns an exit code after SIGTERM. The supervisor calls `on_ready` once, when all processes
    are ready for the first time.
    """

    def __init__(
        self,
        sock: socket.socket,
        count: int,
        run: Callable[[Link], int],
        *,
        drain_timeout_s: float,
        on_ready: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._run = run
        self._drain_timeout_s = drain_timeout_s
        self._on_ready = on_ready
        self._workers: dict[int, Worker] = {}  # by process id
        self._due_s = dict.fromkeys(range(count), 0.0)  # slots to fill, and when
        self._delay_s = dict.fromkeys(range(count), 0.0)
        self._all_were_ready = False
        self._stopping = False
        self._kill_s = NEVER
        self._code = 0
        # Only the supervisor keeps the writing end open, so its end makes the other end readable.
        self._alive_fd, self._alive_end = os.pipe()
        self._ready_fd, self._ready_end = os.pipe()
        self._signal_fd, self._signal_end = os.pipe()

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code, 0 if every worker drained in time."""
        for fd in (self._signal_fd, self._signal_end, self._ready_fd):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._signal_end, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, _ignore)
        # The workers share the memory of these objects as long as the collector does not write to it.
        gc.freeze()
        while self._workers or self._due_s:
            now = monotonic()
            for slot in [slot for slot, due_s in self._due_s.items() if due_s <= now]:
                self._start(slot)
            self._wait()
            if monotonic() >= self._kill_s:
                log.error("killing the workers that did not drain in time")
                self._kill(1)
        return self._code

    def _start(self, slot: int) -> None:
        del self._due_s[slot]
        # A SIGTERM before the worker has its own handler must be delayed or end it, not be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid == 0:
            self._be_worker()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._workers[pid] = Worker(slot, monotonic())

    def _be_worker(self) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles Ctrl+C
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            for fd in (self._alive_end, self._ready_fd, self._signal_fd, self._signal_end):
                os.close(fd)
            code = self._run(Link(self._alive_fd, self._ready_end))
        except Exception:
            log.exception("a worker failed")
        finally:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)

    def _wait(self) -> None:
        """Wait for a signal, a ready worker or the next deadline, and handle it."""
        next_s = min([*self._due_s.values(), self._kill_s])
        timeout_s = None if next_s == NEVER else max(0.0, next_s - monotonic())
        ready, _, _ = select.select([self._signal_fd, self._ready_fd], [], [], timeout_s)
        if self._ready_fd in ready:
            for (pid,) in _PROCESS_ID.iter_unpack(os.read(self._ready_fd, 4096)):
                self._note_ready(pid)
        if self._signal_fd in ready:
            for number in os.read(self._signal_fd, 4096):
                if number == signal.SIGCHLD:
                    self._reap()
                elif not self._stopping:
                    self._drain()
                else:
                    log.warning("second signal: exiting immediately")
                    self._kill(128 + number)

    def _note_ready(self, pid: int) -> None:
        worker = self._workers.get(pid)
        if worker is None:
            return
        worker.ready = True
        if not self._all_were_ready and not self._due_s:
            self._all_were_ready = all(worker.ready for worker in self._workers.values())
            if self._all_were_ready and not self._stopping:
                self._on_ready()

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            if self._stopping:
                ended_early = code == -signal.SIGTERM and not worker.ready
                self._code = self._code or (0 if code == 0 or ended_early else 1)
            elif not self._all_were_ready:
                log.error("worker process %d could not start (%s)", pid, _ending(code))
                self._code = 1
                self._drain()
            else:
                self._replace(pid, worker, code)

    def _replace(self, pid: int, worker: Worker, code: int) -> None:
        delay_s = 0.0
        if monotonic() - worker.started_s < SHORT_LIFE_S:
            previous_s = self._delay_s[worker.slot]
            delay_s = min(MAX_DELAY_S, 2 * previous_s) if previous_s else FIRST_DELAY_S
        self._delay_s[worker.slot] = delay_s
        self._due_s[worker.slot] = monotonic() + delay_s
        log.error(
            "worker process %d ended (%s); another starts in %.1f s", pid, _ending(code), delay_s
        )

    def _drain(self) -> None:
        self._stopping = True
        self._due_s.clear()
        self._sock.close()
        self._kill_s = monotonic() + self._drain_timeout_s + GRACE_S
        self._send(signal.SIGTERM)

    def _kill(self, code: int) -> None:
        self._code = code
        self._kill_s = NEVER
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        for pid in self._workers:  # not reaped yet, so their ids cannot have been reused
            os.kill(pid, number)


def _ignore(number: int, frame: Any) -> None:
    """Do nothing: Python writes to the wake-up descriptor only if a handler exists."""


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
