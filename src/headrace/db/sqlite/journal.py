"""SQLite's journal mode: WAL while headrace serves; on request, back to the mode of stock MLflow.

With WAL reads and writes run concurrently, but it needs shared memory between processes, which
network file systems lack. There the rollback journal stays, and a warning is logged.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger(__name__)
STOCK_MODE: Final = "delete"
RELEASE_TIMEOUT_S: Final = 2.0  # for other connections to end their transactions
# File system types in /proc/mounts on which WAL's shared memory does not work between hosts.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "glusterfs",
        "fuse.sshfs",
    }
)


def start_wal(connection: sqlite3.Connection, path: str) -> str:
    """Switch the file to WAL where that is safe; returns the resulting mode."""
    network = network_file_system(path)
    if network:
        log.warning(
            "%s is on a network file system (%s), where WAL is unsafe: writes and reads will take turns",
            path,
            network,
        )
        return mode(connection)
    (now,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if now != "wal":
        log.warning("%s stays in journal mode %s: writes and reads will take turns", path, now)
    return str(now)


def mode(connection: sqlite3.Connection) -> str:
    """The journal mode of the file."""
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def release(connection: sqlite3.Connection) -> str:
    """Switch back to stock MLflow's mode; returns the resulting mode.

    Raises sqlite3.OperationalError while another connection has the file open.
    """
    return str(connection.execute(f"PRAGMA journal_mode = {STOCK_MODE}").fetchone()[0])


def network_file_system(path: str) -> str | None:
    """The type of the network file system that contains `path`; None for others and for unknown ones."""
    try:
        mounts = os.fsdecode(Path("/proc/mounts").read_bytes())
    except OSError:
        return None
    target = Path(path).resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if target.is_relative_to(point) and len(point) > best:
            best, kind = len(point), found
    return kind if kind in NETWORK_FILE_SYSTEMS else None
