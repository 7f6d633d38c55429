"""`headrace backup` and `headrace restore`: copies a SQLite file while servers read and write it.

SQLite applies any log (-wal, -shm, -journal) next to a file, even if it belongs to another file. So
a file is never placed next to a log, and it is checked in its final place, opened by its final
name.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from headrace.db.schema import sqlite as schema
from headrace.db.schema.facts import UnusableDatabase
from headrace.db.sqlite import journal
from headrace.db.upkeep.access import file_of
from headrace.settings.masking import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Progress = Callable[[int, int], None]  # pages copied, total pages

STEP_PAGES: Final = 4096  # 16 MiB at a time
BUSY_TIMEOUT_S: Final = 20.0
LOGS: Final = ("-wal", "-shm", "-journal")
# SQLite's name: every connection in WAL mode locks this byte of the -shm file.
DEAD_MAN_SWITCH: Final = 128


def backup(uri: str, copy: Path, progress: Progress = lambda done, total: None) -> list[str]:
    """Copy the file of `uri` to `copy`, as of one moment; returns lines for the user.

    The copy is checked, and has the journal mode of stock MLflow. It appears when it is complete.
    Raises UriError, UnusableDatabase.
    """
    source = file_of(uri, "backup")
    if not source.exists():
        raise UnusableDatabase(f"{masked(uri)}: the file {source} does not exist.")
    for name in _with_logs(copy):
        if name.exists():
            raise UnusableDatabase(f"{name} already exists. Move it away, or choose another file.")
    with _explained(copy, masked(uri)), _partial(copy) as partial:
        _copy(source, partial, masked(uri), progress)
        partial.rename(copy)
        _make_durable(copy.parent)
        _check(copy, "quick_check")
    return [f"{masked(uri)} was copied to {copy} ({copy.stat().st_size:,} bytes)."]


def restore(
    copy: Path, uri: str, *, force: bool = False, progress: Progress = lambda done, total: None
) -> list[str]:
    """Replace the file of `uri` with a copy; returns lines for the user.

    With `force` an existing file and its logs are moved aside, and the result names them. After a
    failure the existing file is unchanged. Raises UriError, and UnusableDatabase when the file is
    in use, or the copy is not a complete database of MLflow.
    """
    # Resolved, since SQLite keeps its logs next to the file, not next to a symbolic link.
    target = file_of(uri, "restore").resolve()
    head = _head_of(copy)
    if target.exists() and not force:
        raise UnusableDatabase(
            f"{masked(uri)} exists. Stop its servers and use --force, which moves it aside."
        )
    with _explained(target, str(copy)), _partial(target) as partial:
        with _held(target, masked(uri)):
            pass  # report a file in use before minutes of copying
        _copy(copy, partial, str(copy), progress)
        _check(partial, "integrity_check")
        with _held(target, masked(uri)):
            aside = _replace(target, partial)
        try:
            _check(target, "quick_check")
        except UnusableDatabase:
            _put_back(target, aside)
            raise
    lines = [f"The previous file is now {aside}."] if aside.exists() else []
    lines += [f"A leftover log is now {log}." for log in _logs(aside) if log.exists()]
    return [*lines, f"{masked(uri)} was restored from {copy} (schema {head})."]


def _logs(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in LOGS]


def _with_logs(path: Path) -> list[Path]:
    return [path, *_logs(path)]


def _head_of(copy: Path) -> str:
    """The schema revision of a backup. Raises UnusableDatabase for any other file."""
    if not copy.exists():
        raise UnusableDatabase(f"the file {copy} does not exist")
    for log in _logs(copy):
        if log.exists() and log.stat().st_size:
            raise UnusableDatabase(
                f"{log} exists, and SQLite would apply it to the file. If it belongs to the file, merge it with: "
                f"sqlite3 {copy} 'PRAGMA journal_mode = delete'; if not, move it away."
            )
    try:
        with closing(_reading(copy)) as connection:
            return _inspect(connection, copy)
    except sqlite3.Error as error:
        raise schema.explained(error, str(copy)) from error


def _inspect(connection: sqlite3.Connection, path: Path) -> str:
    """The schema revision, or that of users in a database of users alone. Raises UnusableDatabase."""
    facts = schema.inspect(connection, str(path)) or schema.inspect_users(connection, str(path))
    if facts is None:
        raise UnusableDatabase(f"{path} has none of MLflow's tables.")
    return facts.head


def _reading(path: Path) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)


@contextmanager
def _explained(path: Path, shown: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise schema.explained(error, shown) from error
    except OSError as error:
        raise UnusableDatabase(f"{path}: {error}") from error


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A unique name in the directory of `path`; the file is deleted at the end."""
    partial = path.with_name(f"{path.name}.partial-{uuid4().hex[:8]}")
    try:
        yield partial
    finally:
        for name in _with_logs(partial):
            name.unlink(missing_ok=True)


def _copy(source: Path, partial: Path, shown: str, progress: Progress) -> None:
    with (
        closing(_reading(source)) as reading,
        closing(sqlite3.connect(partial, isolation_level=None)) as writing,
    ):
        # Holds one snapshot; otherwise the copy would start again at each commit of a server.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reading.backup(
            writing,
            pages=STEP_PAGES,
            sleep=0,
            progress=lambda _, left, total: progress(total - left, total),
        )
        reading.execute("COMMIT")
        journal.release(writing)
        (verdict,) = writing.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise UnusableDatabase(f"{shown} is damaged: {verdict}.")
    _make_durable(partial)


def _check(path: Path, pragma: str) -> None:
    """Open a file as a server would, and check it. Raises UnusableDatabase when it is damaged."""
    try:
        with closing(_reading(path)) as connection:
            (verdict,) = connection.execute(f"PRAGMA {pragma}(1)").fetchone()
            if verdict != "ok":
                raise UnusableDatabase(f"{path} is damaged: {verdict}.")
            _inspect(connection, path)
    except sqlite3.Error as error:
        raise schema.explained(error, str(path)) from error


@contextmanager
def _held(target: Path, shown: str) -> Iterator[None]:
    """Merge the file's log and hold the file exclusively. Raises UnusableDatabase while it is in use.

    A damaged file cannot be held and is accepted: the damage may be the reason to replace it.
    """
    _check_log_is_closed(target, shown)
    if not target.exists():
        yield
        return
    with closing(sqlite3.connect(target, timeout=journal.RELEASE_TIMEOUT_S)) as connection:
        try:
            # Writes the contents of the log into the file, and fails while another connection has
            # it open.
            journal.release(connection)
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise schema.explained(error, shown) from error
        yield


def _check_log_is_closed(target: Path, shown: str) -> None:
    """Raise UnusableDatabase when a process has the log open; the file itself may have been moved away."""
    memory = target.with_name(target.name + "-shm")
    if sys.platform == "win32" or not memory.exists():  # Windows does not move an open file
        return
    import fcntl  # does not exist on Windows

    with memory.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, DEAD_MAN_SWITCH)
        except (BlockingIOError, PermissionError) as error:
            raise UnusableDatabase(
                f"{shown}: another process holds the file's log ({memory}). Stop its servers first."
            ) from error


def _replace(target: Path, partial: Path) -> Path:
    """Give `partial` the name of `target`; returns the new name of the previous file.

    After an interruption at any point, `target` is a complete file, the old or the new one.
    """
    names = (target.with_name(f"{target.name}.replaced-{n}") for n in itertools.count(1))
    aside = next(name for name in names if not any(log.exists() for log in _with_logs(name)))
    if target.exists():
        try:
            os.link(target, aside)
        except OSError:  # a file system without links
            target.rename(aside)
    for log, new in zip(_logs(target), _logs(aside), strict=True):
        if log.exists():
            log.rename(new)
    partial.replace(target)
    _make_durable(target.parent)
    return aside


def _put_back(target: Path, aside: Path) -> None:
    """Undo `_replace`."""
    if aside.exists():
        aside.replace(target)
    else:
        target.unlink()
    for log, new in zip(_logs(target), _logs(aside), strict=True):
        if new.exists():
            new.rename(log)


def _make_durable(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
