"""The power fails while a server writes to a SQLite file: every acknowledged write is stored once and completely.

The server runs with every change of its files recorded (programs/recorded.py); for many moments of the recording the
files are built as a disk may hold them that lost its power just then (power.py), and looked through.
"""

from __future__ import annotations

import random
import sys
import time
from bisect import bisect_right
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.load import Once, Writer, eventually
from tests.faults.power import Disk, changes, trim
from tests.faults.stored import check_acknowledged, rows
from tests.fix_server import Server, base_environment, free_port, running

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

PROGRAM = Path(__file__).parent / "programs" / "recorded.py"
SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
SIZES = [pytest.param(450, 40, id="short"), pytest.param(3000, 1000, id="long", marks=SOAK)]
CLIENTS = 4


def recorded(directory: Path, synchronous: str) -> AbstractContextManager[Server]:
    """A server on the database `mlflow.db` whose changes of files go to `recording`."""
    port = free_port()
    argv = [sys.executable, str(PROGRAM), str(directory / "recording"), "server"]
    argv += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--port", str(port)]
    argv += ["--sqlite-synchronous", synchronous]
    return running(Server("headrace", argv, directory, base_environment(), port))


class Acknowledged(list[Any]):
    """The acknowledged writes, each with the length of the recording at its acknowledgement."""

    def __init__(self, recording: Path) -> None:
        super().__init__()
        self._recording = recording
        self.at: list[int] = []

    def append(self, what: Any) -> None:
        """Note one more."""
        self.at.append(self._recording.stat().st_size)
        super().append(what)

    def until(self, position: int) -> list[Any]:
        """The writes that were acknowledged before this position of the recording."""
        return self[: bisect_right(self.at, position)]


def load(directory: Path, synchronous: str, batches: int) -> tuple[str, list[Writer]]:
    """Let clients write to a server that is killed once and stopped once; the run's id and the clients."""
    recording = directory / "recording"
    writers: list[Writer] = []
    run_id = ""
    for life in (1, 2):
        with recorded(directory, synchronous) as server:
            if not run_id:
                with Once(server.url) as wire:
                    run_id = wire.new_run()
            mine = [Writer(life * CLIENTS + n, server.url, run_id) for n in range(CLIENTS)]
            for writer in mine:
                writer.batches, writer.runs = Acknowledged(recording), Acknowledged(recording)
                writer.start()
            enough = batches // 2 // CLIENTS
            eventually(lambda ws=mine, n=enough: all(len(w.batches) > n for w in ws), 600)
            if life == 1:
                server.kill()
                trim(recording)
            for writer in mine:
                writer.stop()
            writers += mine
    return run_id, writers


def check(path: Path, run_id: str, writers: list[Writer], position: int) -> None:
    """The database opens, is intact, and has all acknowledged writes."""
    uri = f"sqlite:///{path}"
    assert rows(uri, "PRAGMA integrity_check") == [("ok",)]
    promised: list[Any] = [
        SimpleNamespace(
            number=writer.number,
            batches=writer.batches.until(position),  # type: ignore[attr-defined]
            runs=writer.runs.until(position),  # type: ignore[attr-defined]
            next=writer.next,
            unwritten=writer.unwritten,
        )
        for writer in writers
    ]
    check_acknowledged(uri, run_id, [writer for writer in promised if writer.batches])


def replay(directory: Path, run_id: str, writers: list[Writer], cuts: int) -> None:
    """Cut the power at moments all over the recording and check the database each time."""
    dice = random.Random(7)
    path = directory / "after" / "mlflow.db"
    path.parent.mkdir()
    told = sorted(at for writer in writers for at in writer.batches.at)  # type: ignore[attr-defined]
    first = told[0]
    ends = [change.end for change in changes(directory / "recording")]
    later = [end for end in ends if end >= first]
    # Half of them just after an answer: an acknowledged write must not depend on later changes.
    chosen = dice.sample(later, cuts // 2) + dice.sample(told, min(cuts // 2, len(told)))
    moments = sorted({ends[bisect_right(ends, at) - 1] for at in chosen})
    assert len(moments) > cuts // 2
    disk, passed = Disk(), 0
    for change in changes(directory / "recording"):
        disk.take(change)
        if passed < len(moments) and change.end == moments[passed]:
            disk.cut(path, dice)
            check(path, run_id, writers, change.end)
            passed += 1
    assert passed == len(moments)


@pytest.mark.parametrize(("batches", "cuts"), SIZES)
def test_acknowledged_writes_survive_a_power_cut(
    batches: int, cuts: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At any moment, also during checkpoints, a kill and an orderly stop, with any part of the unsynced data lost."""
    began = time.monotonic()
    run_id, writers = load(tmp_path, "full", batches)
    replay(tmp_path, run_id, writers, cuts)
    count = sum(len(w.batches) + len(w.runs) for w in writers)
    with capsys.disabled():
        seconds = time.monotonic() - began
        print(f"\n{cuts} power cuts, {count:,} acknowledged writes, {seconds:.0f} s")  # noqa: T201 what the long run is for


def test_the_replay_notices_what_is_not_synced(tmp_path: Path) -> None:
    """With `--sqlite-synchronous normal` the last writes may be lost, and the check must fail."""
    run_id, writers = load(tmp_path, "normal", 40)
    with pytest.raises(AssertionError):
        replay(tmp_path, run_id, writers, 20)
