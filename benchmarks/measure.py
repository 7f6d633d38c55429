"""CPU time and memory of a process and all its descendants, and free ports."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

MIB = 1 << 20
# Sampling 20 processes takes a millisecond.
SAMPLE_S = 0.5


def die_with_parent() -> None:
    """Ask Linux, in a child before exec, to interrupt it when the benchmark ends for any reason."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tree(pid: int) -> list[psutil.Process]:
    """Return the process and its descendants that are alive."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_s(pid: int | None) -> float | None:
    """Return CPU seconds of the tree so far, including children that were waited for."""
    if pid is None:
        return None
    total = 0.0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass(frozen=True)
class Memory:
    """MiB of a process tree; PSS counts a page shared by n processes as 1/n in each."""

    rss_mib: float
    pss_mib: float | None
    processes: int


def memory(pid: int, *, pss: bool = True) -> Memory:
    rss, proportional, count = 0, 0, 0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            rss += process.memory_info().rss
            count += 1
            if pss:
                proportional += getattr(process.memory_full_info(), "pss", 0)
    return Memory(rss / MIB, proportional / MIB if proportional else None, count)


class PeakMemory:
    """Samples the resident memory of a tree in a `with` block and keeps the maximum."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = Memory(0.0, None, 0)

    def _watch(self) -> None:
        while self._pid is not None and not self._stop.wait(SAMPLE_S):
            seen = memory(self._pid, pss=False)
            if seen.rss_mib > self.peak.rss_mib:
                self.peak = seen

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._pid is not None:
            last = memory(self._pid)
            rss = max(last.rss_mib, self.peak.rss_mib)
            self.peak = Memory(rss, last.pss_mib, max(last.processes, self.peak.processes))


def stop_tree(pid: int, timeout_s: float = 10) -> None:
    """Terminate the root, then kill the rest of its tree, and wait until all have ended."""
    processes = tree(pid)
    if not processes:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        processes[0].send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(processes[:1], timeout=timeout_s)
    for process in [*alive, *processes[1:]]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=timeout_s)


def own_cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def children_cpu_s() -> float:
    """Return CPU seconds of ended children; the difference around a run is the load generator's."""
    times = os.times()
    return times.children_user + times.children_system


def wait_idle(pid: int, quiet_s: float = 1.0, timeout_s: float = 60) -> None:
    """Wait until all workers have started: the tree uses under a tenth of a core for `quiet_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        before = cpu_s(pid) or 0.0
        time.sleep(quiet_s)
        if (cpu_s(pid) or 0.0) - before < 0.1 * quiet_s:
            return
