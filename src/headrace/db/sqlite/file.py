"""Detects that a SQLite file, or its log, is no longer the one that was opened.

A process can still write to a deleted, moved or replaced file that it has open: commits would
succeed and be lost. Device and inode of the path show the change. The check costs 2 µs per write.
"""

from __future__ import annotations

import logging
import os
from time import monotonic
from typing import TYPE_CHECKING, Final

from headrace.db.errors import Unavailable

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger(__name__)
READ_CHECK_INTERVAL_S: Final = 0.5  # how long reads may continue from a file that is gone
Identity = tuple[int, int]  # device and inode


class FileGone(Unavailable):
    """The path names another file, or none. Nothing is read or written until it names the same file again."""


class LogGone(FileGone):
    """The database file exists, its log does not."""


class DatabaseFile:
    """The identities of the file at `path` and of its log when they were opened. Safe for use in any thread.

    Raises OSError when the file does not exist.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = _identity(path)
        self._log: Identity | None = None  # exists in WAL mode only
        self._trouble: FileGone | None = None
        self._next_look_s = 0.0

    def opened(self, connection: sqlite3.Connection) -> None:
        """Record the log that a new connection opened. Raises FileGone when it opened another file.

        The log stays the same as long as any connection is open.
        """
        if self._log is None:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                try:
                    self._log = _identity(self._log_path)
                except FileNotFoundError:
                    raise LogGone("the database's log was deleted while it was opened") from None
        self.check()

    def closed(self) -> None:
        """Forget the log: all connections are closed, so SQLite has deleted it and will create a new one."""
        self._log = None

    def check(self) -> None:
        """Raise FileGone when the path names another file, or none."""
        try:
            self._look()
        except FileGone as trouble:
            if self._trouble is None:
                log.error("%s: %s", self.path, trouble.text)
            self._trouble = trouble
            raise
        if self._trouble is not None:
            log.warning("%s: the file is back at its place", self.path)
            self._trouble = None

    def check_sometimes(self) -> None:
        """As `check`, for reads: at most twice a second."""
        now = monotonic()
        if now >= self._next_look_s:
            self._next_look_s = now + READ_CHECK_INTERVAL_S
            self.check()
        elif self._trouble is not None:
            raise FileGone(self._trouble.text)

    @property
    def _log_path(self) -> str:
        return f"{self.path}-wal"

    def _look(self) -> None:
        try:
            if _identity(self.path) != self._file:
                raise FileGone(
                    "the database file was replaced while it was open; restart to serve the new one"
                )
        except FileNotFoundError:
            raise FileGone(
                "the database file was deleted or moved while it was open; put it back, or restart"
            ) from None
        except OSError as error:
            raise FileGone(f"the database file cannot be looked at: {error.strerror}") from error
        if self._log is not None:
            try:
                is_ours = _identity(self._log_path) == self._log
            except OSError:
                is_ours = False
            if not is_ours:
                raise LogGone(
                    "the database's log (-wal) was deleted, moved or replaced while it was open; put it back, "
                    "or restart"
                )


def _identity(path: str) -> Identity:
    found = os.stat(path)  # noqa: PTH116 a Path costs more than the call
    return found.st_dev, found.st_ino
