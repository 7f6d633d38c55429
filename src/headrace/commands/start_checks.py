"""Checks before the server listens: what would make every later request fail, or surprise the user."""

from __future__ import annotations

import getpass
import logging
import os
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.bridge.package import absence
from headrace.db.uri import parse
from headrace.extras import own_install_command
from headrace.server.listening import CannotStart
from headrace.settings.defaults import scheme_of
from headrace.settings.masking import masked
from headrace.storage import repository
from headrace.storage.locations import OBJECT_STORES, is_local, local_path

if TYPE_CHECKING:
    from headrace.settings.table import Settings

log = logging.getLogger("headrace")
LOCKS: Final = Path("/proc/locks")


def check(settings: Settings) -> None:
    """Log a warning for each problem. Raises CannotStart for one that no request can survive."""
    if settings.serve_artifacts or settings.artifacts_only:
        _check_destination(settings.artifacts_destination)
    if not settings.artifacts_only:
        target = parse(settings.backend_store_uri)
        if target.path:  # a SQLite file
            for pid in processes_with(Path(target.path)):
                log.warning(
                    "process %d%s has %s open too: each process waits while the other writes. Stop "
                    "it, or use PostgreSQL for several servers.",
                    pid,
                    _name_of(pid),
                    target.path,
                )


def _check_destination(uri: str) -> None:
    """Look whether there is a store for the destination of artifacts, and its directory is writable."""
    if not is_local(uri):
        _check_scheme(uri)
        return
    path = Path(local_path(uri)).absolute()
    existing = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not existing.is_dir():
        raise CannotStart(
            f"Artifacts cannot be stored in {path}: {existing} is not a directory. Name another one "
            "with --artifacts-destination, or start with --no-serve-artifacts."
        )
    try:
        if existing == path:
            tempfile.TemporaryFile(
                dir=path
            ).close()  # leaves nothing, even if the process is killed
        elif not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(f"cannot create a directory in {existing}")
    except OSError as error:
        log.warning(
            "every upload of an artifact will fail, because the user %s cannot create files in %s: "
            "%s. Change its permissions, or name another directory with --artifacts-destination.",
            _user(),
            path,
            error.strerror or error,
        )


def _check_scheme(uri: str) -> None:
    scheme = scheme_of(uri)
    if scheme in OBJECT_STORES:
        return
    plugins = {point.name for point in entry_points(group=repository.PLUGINS)}
    if scheme not in repository.SCHEMES and scheme not in plugins:
        raise CannotStart(
            f"Artifacts cannot be stored in {masked(uri)}: there is no artifact store for the scheme "
            f"'{scheme}'. Name another place with --artifacts-destination, or install MLflow's plugin for it."
        )
    if absence() is not None:
        log.warning(
            "every upload of an artifact will fail, because the scheme '%s' needs MLflow: %s. To add it: %s",
            scheme,
            absence(),
            own_install_command("mlflow"),
        )


def processes_with(path: Path) -> list[int]:
    """The other processes that hold a lock of SQLite on a file; empty where Linux does not say."""
    try:
        status = path.stat()
        locks = LOCKS.read_text()
    except OSError:
        return []
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    rows = (line.split() for line in locks.splitlines())
    # NUMBER: POSIX ADVISORY READ PID DEVICE:INODE START END; of a waiting process, `->` comes first.
    holders = {int(row[4]) for row in rows if len(row) > 5 and row[5] == file}
    return sorted(pid for pid in holders if pid > 0 and pid != os.getpid())


def _name_of(pid: int) -> str:
    try:
        return f" ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
