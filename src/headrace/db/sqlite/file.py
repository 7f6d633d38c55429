"""Notices that a SQLite file, or its log, is no longer the one that was opened.

A file that was deleted, moved or replaced can still be written by a process that has it open: commits would succeed,
and be in no file that anybody finds. Device and inode of the path tell. That costs a write 2 µs.
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
LOOK_EVERY_S: Final = 0.5  # for reads: how long they may go on from a file that is gone
Identity = tuple[int, int]  # device and inode


class FileGone(Unavailable):
    """The path leads to another file, or to none. Nothing is read or written until it leads back."""


class LogGone(FileGone):
    """The database file is there, its log is not."""


class DatabaseFile:
    """The file at `path` and its log, as they were when they were opened. Safe to use from any thread.

    Raises OSError when there is no file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = _identity(path)
        self._log: Identity | None = None  # without WAL there is none
        self._trouble: FileGone | None = None
        self._next_look_s = 0.0

    def opened(self, connection: sqlite3.Connection) -> None:
        """Note the log that a new connection opened. Raises FileGone when it opened another file.

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
        """All connections are closed: SQLite has deleted the log, and makes a new one."""
        self._log = None

    def check(self) -> None:
        """Raise FileGone when the path leads to another file, or to none."""
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
        """As `check`, for reads: looks twice a second at most."""
        now = monotonic()
        if now >= self._next_look_s:
            self._next_look_s = now + LOOK_EVERY_S
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
