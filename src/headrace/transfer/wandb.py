"""Runs of Weights & Biases that are on this disk: the files `run-<id>.wandb` of offline and of synced runs.

A project becomes an experiment. Numbers of the history become metrics, and so do numbers that only the summary
has; the configuration becomes params; the run's directory `files` becomes its artifacts.

A file is a log of LevelDB (blocks of 32 KiB; pieces with checksum, length and kind) after a head of 7 bytes, and
each record of the log a `Record` of wandb/proto/wandb_internal.proto.
"""

from __future__ import annotations

import json
import re
import uuid
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from headrace.transfer import local_files
from headrace.transfer.names import Keys
from headrace.transfer.protobuf import Malformed, double, fields, message, signed, text
from headrace.transfer.records import Experiment, File, Outside, Point, Run, Source, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC: Final = b":W&B"
HEAD_BYTES: Final = 7
BLOCK_BYTES: Final = 32 << 10
_PIECE: Final = Struct("<4xHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
HISTORY, SUMMARY, CONFIG, RUN, EXIT = 2, 3, 5, 17, 18  # fields of Record
OWN: Final = "_"  # keys that wandb itself logs begin so
STORABLE: Final = re.compile(r"[a-zA-Z0-9][\w\-]{0,31}", re.ASCII)


def is_run_directory(directory: Path) -> bool:
    """Whether there are files of W&B somewhere below a directory."""
    return next(directory.rglob("*.wandb"), None) is not None


class RunDirectory(Source):
    """A directory `wandb`, or one above it."""

    def __init__(self, root: Path) -> None:
        self._roots = local_files.Roots([root])
        self._files: dict[tuple[str, str], list[Path]] = {}  # by project and run
        for file in sorted(root.rglob("*.wandb")):
            if not file.parent.is_symlink():  # latest-run
                self._files.setdefault(_identity(file), []).append(file)
        self._by_id: dict[str, list[Path]] = {}

    def experiments(self) -> Iterator[Experiment]:
        """See Source."""
        for project in dict.fromkeys(project for project, _ in self._files):
            yield Experiment(experiment_id="", name=project)

    def count(self, experiment: Experiment) -> int | None:
        """See Source."""
        return sum(project == experiment.name for project, _ in self._files)

    def runs(self, experiment: Experiment) -> Iterator[Run]:
        """See Source."""
        for (project, run_id), files in self._files.items():
            if project == experiment.name:
                run = _run(project, run_id, files)
                self._by_id[run.run_id] = files
                yield run

    def points(self, experiment: Experiment, run: Run) -> Iterator[Point]:
        """See Source."""
        keys, seen, last, time = Keys(), set[str](), 0, run.start_time or 0
        summary: dict[str, float] = {}
        for kind, record in _records(self._by_id[run.run_id]):
            if kind == HISTORY:
                items = dict(_items(record))
                last = int(items.get("_step", _step(record)))
                time = int(float(items.get("_timestamp", time / 1000)) * 1000)
                for key, value in items.items():
                    number = _number(value)
                    if number is not None and not key.startswith(OWN):
                        seen.add(key)
                        yield Point(keys.permitted(key), last, time, number)
            elif kind == SUMMARY:
                for key, value in _items(record):
                    number = _number(value)
                    if number is not None and not key.startswith(OWN):
                        summary[key] = number
        for key in sorted(summary.keys() - seen):
            yield Point(keys.permitted(key), last, time, summary[key])

    def files(self, experiment: Experiment, run: Run) -> Iterator[File | Outside]:
        """See Source."""
        for file in self._by_id[run.run_id]:
            yield from self._roots.below(file.parent / "files")


def _run(project: str, run_id: str, files: list[Path]) -> Run:
    run = Run(run_id=run_id, status="RUNNING")
    config: dict[str, Any] = {}
    for kind, record in _records(files):
        if kind == RUN:
            _read_run(record, run, config)
        elif kind == CONFIG:
            config.update(_items(record))
        elif kind == EXIT:
            code = next((signed(value) for number, value in fields(record) if number == 1), 0)
            run.status = "FAILED" if code else "FINISHED"
        elif kind == HISTORY:
            seconds = dict(_items(record)).get("_timestamp")
            run.end_time = int(seconds * 1000) if seconds else run.end_time
    if run.status == "RUNNING":
        run.end_time = None
    elif run.end_time is None:
        run.end_time = run.start_time
    keys = Keys()
    run.params = {keys.permitted(key): _shown(value) for key, value in _flat(config)}
    if STORABLE.fullmatch(run_id) is None:
        run.run_id = uuid.uuid5(uuid.NAMESPACE_URL, f"wandb:{project}/{run_id}").hex
        run.tags["wandb.run_id"] = run_id
    run.tags["mlflow.runName"] = run.name = run.name or run_id
    return run


def _read_run(record: bytes, run: Run, config: dict[str, Any]) -> None:
    labels = []
    texts = {6: "wandb.group", 7: "wandb.job_type", 9: "mlflow.note.content", 12: "wandb.sweep_id"}
    for number, value in fields(record):
        if number == 2:
            run.user_id = text(value)
        elif number == 4:
            config.update(_items(message(value)))
        elif number == 8:
            run.name = text(value)
        elif number == 10:
            labels.append(text(value))
        elif number == 17:
            time = dict(fields(message(value)))
            nanoseconds = signed(time.get(2, 0))
            run.start_time = signed(time.get(1, 0)) * 1000 + nanoseconds // 1_000_000
        elif number in texts and value:
            run.tags[texts[number]] = text(value)
    if labels:
        run.tags["wandb.tags"] = ", ".join(labels)


def _identity(file: Path) -> tuple[str, str]:
    """Return the project and the id of the run in a file."""
    for kind, record in _records([file]):
        if kind == RUN:
            found = dict(fields(record))
            project = text(found.get(3, b"")) or "uncategorized"
            return project, text(found.get(1, b"")) or file.stem.removeprefix("run-")
    raise unreadable(file, "it has no run")


def _records(files: list[Path]) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and the bytes of each record. A last record may be incomplete."""
    for file in files:
        with file.open("rb") as opened:
            block = opened.read(BLOCK_BYTES)
            if not block.startswith(MAGIC):
                raise unreadable(file, "it is no file of W&B")
            at, whole = HEAD_BYTES, b""
            while block:
                while at + _PIECE.size <= len(block):
                    length, kind = _PIECE.unpack_from(block, at)
                    piece = block[at + _PIECE.size : at + _PIECE.size + length]
                    at += _PIECE.size + length
                    whole = piece if kind in (WHOLE, FIRST) else whole + piece
                    if kind in (WHOLE, LAST) and at <= len(block):
                        yield from _fields_of(file, whole)
                block, at = opened.read(BLOCK_BYTES), 0


def _fields_of(file: Path, record: bytes) -> Iterator[tuple[int, bytes]]:
    try:
        found = [
            (number, value)
            for number, value in fields(record)
            if number in (HISTORY, SUMMARY, CONFIG, RUN, EXIT) and isinstance(value, bytes)
        ]
    except Malformed as error:
        raise unreadable(file, "it is damaged") from error
    yield from found


def _step(record: bytes) -> int:
    for number, value in fields(record):
        if number == 2:
            return next((signed(n) for one, n in fields(message(value)) if one == 1), 0)
    return 0


def _items(record: bytes) -> Iterator[tuple[str, Any]]:
    """Yield keys and values of a history, summary or configuration; parts of nested keys have dots between."""
    for number, item in fields(record):
        if number == 1 and isinstance(item, bytes):
            names, value = [], None
            for kind, part in fields(item):
                if kind in (1, 2):
                    names.append(text(part))
                elif kind in (8, 16):
                    value = _json(text(part) or "null")
                elif kind == 4:
                    value = bool(part)
                elif kind == 5:  # zigzag
                    value = (signed(part) >> 1) ^ -(signed(part) & 1)
                elif kind == 6:
                    value = double(part)
                elif kind == 7:
                    value = text(part)
            yield ".".join(names), value


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the value {value[:50]!r} is not JSON") from error


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _flat(config: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if not before and key == "_wandb":
            continue
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
