"""`headrace backup` and `headrace restore`: a SQLite file copied while servers read and write it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from headrace.db import journal
from headrace.db.schema import sqlite as schema
from headrace.db.schema.facts import UnusableDatabase
from headrace.db.upkeep.access import file_of
from headrace.setting import masked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress = Callable[[int, int], None]  # pages copied, pages in all

STEP_PAGES: Final = 4096  # 16 MiB at a time
BUSY_TIMEOUT_S: Final = 20.0


def backup(uri: str, copy: Path, progress: Progress = lambda done, total: None) -> list[str]:
    """Copy the file of `uri` to `copy`, as of one moment; lines for a person.

    The copy is checked, and in the journal mode that stock MLflow leaves. It appears when it is whole.
    Raises UriError, UnusableDatabase.
    """
    source = file_of(uri, "backup")
    if not source.exists():
        raise UnusableDatabase(f"{masked(uri)}: there is no such file ({source}).")
    if copy.exists():
        raise UnusableDatabase(f"{copy} exists already. Move it away, or name another file.")
    _copy(source, copy, masked(uri), progress)
    return [f"{masked(uri)} is copied to {copy} ({copy.stat().st_size:,} bytes)."]


def restore(
    copy: Path, uri: str, *, force: bool = False, progress: Progress = lambda done, total: None
) -> list[str]:
    """Put a copy in the place of the file of `uri`; lines for a person.

    With `force` a file that is there goes aside, and is named. Raises UriError, and UnusableDatabase when the
    file is in use or the copy is no database of MLflow.
    """
    target = file_of(uri, "restore")
    if not copy.exists():
        raise UnusableDatabase(f"there is no such file: {copy}")
    try:
        with closing(sqlite3.connect(f"{copy.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            facts = schema.inspect(connection, str(copy))
    except sqlite3.Error as error:
        raise schema.explained(error, str(copy)) from error
    if facts is None:
        raise UnusableDatabase(f"{copy} is an empty database.")
    lines = []
    if target.exists():
        if not force:
            raise UnusableDatabase(
                f"{masked(uri)} exists. Stop its servers and give --force: it is moved aside, then."
            )
        aside = _move_aside(target, masked(uri))
        lines.append(f"The file that was there is now {aside}.")
    _copy(copy, target, str(copy), progress)
    return [*lines, f"{masked(uri)} is restored from {copy} (schema {facts.head})."]


def _copy(source: Path, copy: Path, shown: str, progress: Progress) -> None:
    partial = copy.with_name(copy.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with (
            closing(
                sqlite3.connect(
                    f"{source.resolve().as_uri()}?mode=ro",
                    uri=True,
                    timeout=BUSY_TIMEOUT_S,
                    isolation_level=None,
                )
            ) as reading,
            closing(sqlite3.connect(partial, isolation_level=None)) as writing,
        ):
            # Holds one snapshot: without it the copy starts again whenever a server commits.
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
            raise UnusableDatabase(f"{shown} is damaged: {verdict}. Its copy is {partial}.")
        _make_durable(partial)
        partial.rename(copy)
        _make_durable(copy.parent)
    except sqlite3.Error as error:
        partial.unlink(missing_ok=True)
        raise schema.explained(error, shown) from error
    except OSError as error:
        raise UnusableDatabase(f"{copy}: {error}") from error


def _move_aside(target: Path, shown: str) -> Path:
    try:
        # Writes what is in the log into the file, and fails while anybody has it open.
        with closing(sqlite3.connect(target, timeout=journal.RELEASE_TIMEOUT_S)) as connection:
            journal.release(connection)
            connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise schema.explained(error, shown) from error
        # damaged: that may be why it is to be replaced
    number = 1
    while (aside := target.with_name(f"{target.name}.replaced-{number}")).exists():
        number += 1
    target.rename(aside)
    for suffix in ("-wal", "-shm", "-journal"):
        log = target.with_name(target.name + suffix)
        if log.exists():
            log.rename(aside.with_name(aside.name + suffix))
    return aside


def _make_durable(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
