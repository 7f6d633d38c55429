"""Size on disk and import times of headrace and its peers."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks import peers
from benchmarks.measure import MIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REPEATS: Final = 5
_LINE: Final = re.compile(r"import time:\s+\d+ \|\s+(\d+) \|\s+(\S+)$")
# Not part of the installation.
_TOOLS: Final = ("pip", "setuptools", "pkg_resources", "_distutils_hack")


@dataclass(frozen=True)
class Size:
    """Milliseconds are medians of `python -X importtime`; None if nothing is imported."""

    name: str
    version: str
    packages: int
    install_mib: float
    files: int
    client_import: str = ""
    client_import_ms: float | None = None
    server_import: str = ""
    server_import_ms: float | None = None


@dataclass(frozen=True)
class Imports:
    """The module that a user imports, and the module that the server's process imports."""

    client: str = ""
    server: str = ""


IMPORTS: Final = {
    "headrace": Imports("headrace", "headrace.server.asgi"),
    "mlflow": Imports("mlflow", "mlflow.server.fastapi_app"),
    "mlflow-go": Imports("mlflow", "mlflow.server"),
    "fasttrackml": Imports(),
}


def _site_packages(folder: Path) -> Path:
    return next(folder.glob("lib/python*/site-packages"))


def disk(folder: Path) -> tuple[float, int, int]:
    """Return MiB, files and distributions of an environment, without pip and bytecode."""
    site = _site_packages(folder)
    total, files = 0, 0
    for path in site.rglob("*"):
        top = path.relative_to(site).parts[0]
        is_tool = top.split("-")[0].removesuffix(".dist") in _TOOLS
        if is_tool or "__pycache__" in path.parts or not path.is_file() or path.is_symlink():
            continue
        total += path.stat().st_size
        files += 1
    found = [d for d in site.glob("*.dist-info") if d.name.split("-")[0] not in _TOOLS]
    return total / MIB, files, len(found)


def import_ms(python: Path, module: str) -> float | None:
    """Return the median of `REPEATS` imports after a warm-up; None if the import fails."""
    if not module:
        return None
    command = [os.fspath(python), "-X", "importtime", "-c", f"import {module}"]
    found = []
    for _ in range(REPEATS + 1):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return None
        found.append(imported_us(done.stderr, module) / 1000)
    return statistics.median(found[1:])


def imported_us(log: str, module: str) -> int:
    """Return the microseconds of a module with its imports, from a log of -X importtime.

    The module's own line is the last with its name, because its parents are nested in it.
    """
    hits = (_LINE.match(line) for line in log.splitlines())
    found = [int(hit[1]) for hit in hits if hit and hit[2] == module]
    if not found:
        raise ValueError(f"the log does not mention {module}")
    return found[-1]


def size_of(peer: peers.Peer) -> Size:
    if peer is peers.HEADRACE:  # its source may have changed
        peer.stamp.unlink(missing_ok=True)
    peer.install()
    imports = IMPORTS[peer.name]
    mib, files, packages = disk(peer.folder)
    python = peer.binaries / "python"
    return Size(
        peer.name,
        peer.version(),
        packages,
        mib,
        files,
        imports.client,
        import_ms(python, imports.client),
        imports.server,
        import_ms(python, imports.server),
    )


def sizes(names: list[str], tell: Callable[[str], None] = lambda _: None) -> list[dict[str, Any]]:
    """Return the sizes of headrace and the peers among `names`."""
    found = []
    for peer in (peers.HEADRACE, *peers.PEERS):
        if peer.name in names:
            tell(f"size of {peer.name}")
            found.append(asdict(size_of(peer)))
    return found
