"""A small process between headrace and stock MLflow. It runs as a file and imports nothing of headrace.

    python -I -S watchdog.py STATE_FD ALIVE_BYTE IDLE_S JOBS_URL COMMAND…

It ends the command and all its descendants after IDLE_S seconds without use, and when the pipe on
its standard input closes, which happens however the last headrace process ends. A byte on that pipe
means "in use". Unless JOBS_URL is "-", running and pending jobs count as use too. While the
watchdog runs it holds a lock on a byte of the state file. Its exit code is 0 when it ended the
command, else that of the command.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import time

TICK_S = 0.5
GRACE_S = 5.0  # from SIGTERM to SIGKILL
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command until it ends, is idle, or no process uses it any more."""
    own_end = 0
    state_fd, alive_byte = int(sys.argv[1]), int(sys.argv[2])
    idle_s, jobs_url, command = float(sys.argv[3]), sys.argv[4], sys.argv[5:]
    fcntl.lockf(state_fd, fcntl.LOCK_EX, 1, alive_byte)  # waits until a previous watchdog has ended
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_watchdog
    )
    try:
        _watch(child, idle_s, jobs_url)
        own_end = child.poll() or 0
    except SystemExit:
        pass
    finally:
        _end(child)
    return own_end if own_end >= 0 else 128 - own_end


def _watch(child: subprocess.Popen[bytes], idle_s: float, jobs_url: str) -> None:
    used_s = time.monotonic()
    while child.poll() is None:
        ready, _, _ = select.select([0], [], [], TICK_S)
        if ready:
            if not os.read(0, 65536):
                return
            used_s = time.monotonic()
        elif time.monotonic() - used_s > idle_s:
            if jobs_url == "-" or not _jobs_are_left(jobs_url):
                return
            used_s = time.monotonic()


def _jobs_are_left(url: str) -> bool:
    # Imported here to save start-up time: only a watchdog of job runners needs them.
    import json
    from urllib.request import Request, urlopen

    wanted = json.dumps({"statuses": ["PENDING", "RUNNING"]}).encode()
    secret = os.environ.get("HEADRACE_BRIDGE_SECRET", "")
    headers = {"content-type": "application/json", "x-headrace-bridge": secret}
    request = Request(url, wanted, headers)
    try:
        with urlopen(request, timeout=30) as answer:
            return bool(json.load(answer)["jobs"])
    except (OSError, ValueError, KeyError):
        return False


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    # Descendants outside of the group are children now, because this process is a subreaper.
    while orphans := _children():
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as listed:  # noqa: PTH123
            return [int(pid) for pid in listed.read().split()]
    except OSError:
        return []


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)


def _die_with_watchdog() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
