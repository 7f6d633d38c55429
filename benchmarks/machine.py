"""The machine and the versions of a measurement."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.load import k6_version
from benchmarks.peers import ROOT


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe() -> dict[str, str]:
    """Return processor, cores, memory and system."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def revision(source: Path = ROOT) -> str:
    """Return the measured commit, with `+changes` if the tree differs from it."""
    ask = ["git", "-C", os.fspath(source)]
    head = subprocess.run([*ask, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True)
    if head.returncode != 0:
        return "unknown"
    changes = subprocess.run(
        [*ask, "status", "--porcelain", "--", "src"], capture_output=True, text=True
    )
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def versions() -> dict[str, str]:
    """Return the versions of the measuring tools and of headrace's dependencies."""
    names = ("asyncpg", "httptools", "msgspec", "uvloop")
    found = {name: version(name) for name in names}
    return {
        "headrace": revision(),
        "python": platform.python_version(),
        "k6": k6_version(),
        **found,
    }


def version(name: str) -> str:
    """Return the version of a package of this environment."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
