"""Facts about other processes, from /proc: Linux only."""

from __future__ import annotations

import resource
from pathlib import Path


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def has_ended(pid: int) -> bool:
    """Whether a process has ended. A zombie has: only its parent has not noticed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def resident_bytes(pid: int) -> int:
    """The memory of a process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes(pid: int) -> int:
    """The largest value of `resident_bytes` since the start, or since `reset_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def reset_peak(pid: int) -> int:
    """Make the peak the memory that the process has now; returns it."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_bytes(pid)


def descriptors(pid: int) -> int:
    """The number of open files and sockets of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def has_open_file(pid: int, directory: Path) -> bool:
    """Whether a process has a file below the directory open, with or without a name."""
    targets = (str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())
    return any(target.startswith(f"{directory}/") for target in targets)
