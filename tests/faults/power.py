"""A disk that loses power: it holds all synced data, and any part of the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.faults.programs.recorded import DELETE, HEAD, SYNC, TRUNCATE, WRITE

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

SECTOR_BYTES = 512  # what a disk writes whole
SUFFIXES = {b"d": "", b"w": "-wal", b"j": "-journal"}


class Change(NamedTuple):
    """One record of programs/recorded.py; `end`: its last byte's position in the recording, plus one."""

    end: int
    what: bytes
    kind: bytes
    offset: int
    data: bytes


def changes(recording: Path) -> Iterator[Change]:
    """Everything that was recorded, in order."""
    content = recording.read_bytes()
    at = 0
    while at + HEAD.size <= len(content):
        what, kind, offset, length = HEAD.unpack_from(content, at)
        assert kind in SUFFIXES, "not a record"
        at += HEAD.size
        yield Change(at + length, what, kind, offset, content[at : at + length])
        at += length


def trim(recording: Path) -> None:
    """Remove an incomplete last record, which a killed process leaves."""
    whole = 0
    size = recording.stat().st_size
    for change in changes(recording):
        whole = change.end if change.end <= size else whole
    with recording.open("r+b") as file:
        file.truncate(whole)


def applied(content: bytearray, change: Change) -> None:
    """Write or truncate."""
    if change.what == TRUNCATE:
        del content[change.offset :]
        content.extend(bytes(max(0, change.offset - len(content))))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


@dataclass
class DiskFile:
    """`synced`: what is certainly there, None when the name may be missing; `ghost`: a deleted file that may be there
    instead, as long as its directory was not synced since; `pending`: changes that may be there or not.
    """

    synced: bytearray | None = None
    ghost: bytearray | None = None
    pending: list[Change] = field(default_factory=list)

    def take(self, change: Change) -> None:
        """Apply a record."""
        if change.what in (WRITE, TRUNCATE):
            self.pending.append(change)
        elif change.what == SYNC:
            self.synced = self.synced if self.synced is not None else bytearray()
            for done in self.pending:
                applied(self.synced, done)
            self.pending = []
        elif change.what == DELETE:
            durably = change.offset != 0
            self.ghost = None if durably else self.synced if self.synced is not None else self.ghost
            self.synced, self.pending = None, []

    def after_a_cut(self, dice: random.Random) -> bytes | None:
        """Possible content after the power cut; None: no such file."""
        if self.synced is None and (not self.pending or dice.random() < 0.5):
            return None if self.ghost is None or dice.random() < 0.5 else bytes(self.ghost)
        content = bytearray(self.synced or b"")
        share = dice.choice((0.0, 0.5, 0.9, 1.0))
        for change in self.pending:
            if dice.random() < share:
                torn = change.what == WRITE and share < 1 and dice.random() < 0.2
                sectors = dice.randrange(len(change.data) // SECTOR_BYTES + 1)
                data = change.data[: sectors * SECTOR_BYTES] if torn else change.data
                applied(content, change._replace(data=data))
        return bytes(content)


class Disk:
    """The files of one database."""

    def __init__(self) -> None:
        self._files = {kind: DiskFile() for kind in SUFFIXES}

    def take(self, change: Change) -> None:
        """Apply a record. SQLite's first sync of a new file also syncs the directory."""
        if change.what == SYNC and self._files[change.kind].synced is None:
            for file in self._files.values():
                file.ghost = None
        self._files[change.kind].take(change)

    def cut(self, path: Path, dice: random.Random) -> None:
        """Write to `path` a possible content after the power cut."""
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
        for kind, suffix in SUFFIXES.items():
            name = path.with_name(path.name + suffix)
            content = self._files[kind].after_a_cut(dice)
            name.unlink(missing_ok=True)
            if content is not None:
                name.write_bytes(content)
