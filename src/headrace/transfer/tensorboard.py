"""Event files of TensorBoard, as TensorFlow, PyTorch, JAX and tensorboardX write them.

A directory with event files is a run, the directory that is imported the experiment. A run in a directory below
that of another run is its child. Scalars become metrics, hyperparameters become params; the event files become
artifacts, so that everything else (images, histograms …) is kept.

A file is a sequence of records: length (8 bytes), its checksum (4), an Event in protobuf, its checksum (4).
Sources: tensorflow/core/util/event.proto, summary.proto, tensor.proto; tensorboard/plugins/hparams.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.file_names import from_native
from headrace.contract.scalars import INT64_MAX
from headrace.transfer.local_files import LocalFile
from headrace.transfer.names import Keys
from headrace.transfer.protobuf import (
    DOUBLE,
    FLOAT,
    Malformed,
    double,
    fields,
    message,
    signed,
    text,
)
from headrace.transfer.records import Experiment, File, Point, Run, Source, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK: Final = ".tfevents."  # in the name of every event file
PARENT: Final = "mlflow.parentRunId"
_LENGTH: Final = Struct("<Q4x")
_LONGEST: Final = 1 << 30  # bytes of a record
SESSION_STATUS: Final = {1: "FINISHED", 2: "FAILED"}
# Numbers of a tensor: by data type, the field of its values and the form of its `tensor_content`.
_DTYPES: Final = {1: (5, FLOAT), 2: (6, DOUBLE), 3: (7, Struct("<i")), 9: (10, Struct("<q"))}


def is_log_directory(directory: Path) -> bool:
    """Whether a directory has event files somewhere below."""
    return any(MARK in name for _, _, names in os.walk(directory) for name in names)


class Session:
    """The records of the hyperparameter plugin."""

    def __init__(self) -> None:
        self.params: dict[str, str] = {}
        self.status = "FINISHED"


class LogDirectory(Source):
    """A directory of TensorBoard's logs."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._runs: dict[str, Path] = {}

    def experiments(self) -> Iterator[Experiment]:
        """See Source. The directory is the only experiment."""
        yield Experiment(experiment_id="", name=self._root.name or "tensorboard")

    def _directories(self) -> Iterator[Path]:
        """Yield the directories of the runs, parents first."""
        for parent, below, names in os.walk(self._root):
            below.sort()
            if any(MARK in name for name in names):
                yield Path(parent)

    def count(self, experiment: Experiment) -> int | None:
        """See Source."""
        return sum(1 for _ in self._directories())

    def runs(self, experiment: Experiment) -> Iterator[Run]:
        """See Source."""
        ids: dict[Path, str] = {}
        for directory in self._directories():
            session, first, last = Session(), None, None
            for wall_time, event in _events(directory):
                first = wall_time if first is None else min(first, wall_time)
                last = wall_time if last is None else max(last, wall_time)
                for value in _values(event):
                    _read_session(value, session)
            name = from_native(directory.relative_to(self._root).as_posix())
            run_id = self._id(experiment, name, directory)
            ids[directory] = run_id
            self._runs[run_id] = directory
            above = next((ids[one] for one in directory.parents if one in ids), None)
            yield Run(
                run_id=run_id,
                name=self._root.name if name == "." else name,
                status=session.status,
                start_time=_milliseconds(first),
                end_time=_milliseconds(last),
                params=session.params,
                tags={"mlflow.runName": self._root.name if name == "." else name}
                | ({PARENT: above} if above else {}),
            )

    @staticmethod
    def _id(experiment: Experiment, name: str, directory: Path) -> str:
        """Return the same id for the same run at every import; the file's name has a time and a host."""
        file = min(entry.name for entry in directory.iterdir() if MARK in entry.name)
        return uuid.uuid5(uuid.NAMESPACE_URL, f"tensorboard:{experiment.name}/{name}/{file}").hex

    def points(self, experiment: Experiment, run: Run) -> Iterator[Point]:
        """See Source."""
        keys, plugins = Keys(), dict[str, str]()
        for wall_time, event in _events(self._runs[run.run_id]):
            step = next((signed(field) for number, field in fields(event) if number == 2), 0)
            for value in _values(event):
                found = _scalar(value, plugins)
                if found is not None:
                    yield Point(
                        keys.permitted(found[0]), step, _milliseconds(wall_time) or 0, found[1]
                    )

    def files(self, experiment: Experiment, run: Run) -> Iterator[File]:
        """See Source."""
        directory = self._runs[run.run_id]
        for file in _event_files(directory):
            yield LocalFile(directory, file)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, int(seconds * 1000))


def _event_files(directory: Path) -> list[Path]:
    return sorted(entry for entry in directory.iterdir() if MARK in entry.name)


def _events(directory: Path) -> Iterator[tuple[float, bytes]]:
    """Yield the time (seconds) and the bytes of each event of a run. A last event may be incomplete."""
    for file in _event_files(directory):
        with file.open("rb") as opened:
            while len(head := opened.read(12)) == 12:
                (length,) = _LENGTH.unpack(head)
                if length > _LONGEST:
                    raise unreadable(file, "it is damaged")
                event = opened.read(length)
                if len(event) < length:
                    break  # the writer was killed
                opened.seek(4, os.SEEK_CUR)
                try:
                    time = next(double(value) for number, value in fields(event) if number == 1)
                except (Malformed, StopIteration) as error:
                    raise unreadable(file, "it is damaged") from error
                if not abs(time) <= INT64_MAX / 1000:  # NaN, too
                    raise unreadable(file, f"the time {time} is none")
                yield time, event


def _values(event: bytes) -> Iterator[dict[int, Any]]:
    """Yield the values of an event's summary, by the numbers of their fields."""
    for number, summary in fields(event):
        if number == 5:
            for kind, value in fields(message(summary)):
                if kind == 1:
                    yield dict(fields(message(value)))


def _plugin(value: dict[int, Any]) -> tuple[str, bytes]:
    """Return the name of the plugin of a value, and its data."""
    metadata = dict(fields(value.get(9, b"")))
    plugin = dict(fields(message(metadata.get(1, b""))))
    return text(plugin.get(1, b"")), message(plugin.get(2, b""))


def _scalar(value: dict[int, Any], plugins: dict[str, str]) -> tuple[str, float] | None:
    """Return the tag and the number of a scalar. `plugins`: the plugin of each tag, written once."""
    tag = text(value.get(1, b""))
    if 9 in value:
        plugins[tag] = _plugin(value)[0]
    if 2 in value:
        return tag, double(value[2])
    if 8 not in value or plugins.get(tag, "scalars") != "scalars":
        return None
    number = _number(message(value[8]))
    return None if number is None else (tag, number)


def _number(tensor: bytes) -> float | None:
    """Return the only number of a tensor, or None."""
    found = dict(fields(tensor))
    kind = _DTYPES.get(found.get(1, 0))  # type: ignore[arg-type]
    if kind is None:
        return None
    number, form = kind
    content = message(found.get(4, b""))
    if len(content) == form.size:
        return float(form.unpack(content)[0])
    value = found.get(number)
    if isinstance(value, int):
        return float(signed(value))
    if value is None:
        return 0.0 if not content else None  # protobuf leaves zeros out
    if form in (FLOAT, DOUBLE):
        return float(form.unpack(value)[0]) if len(value) == form.size else None
    numbers = [byte for byte in value if byte < 0x80]  # packed varints: the last byte of each
    return float(signed(next(v for _, v in fields(b"\x08" + value)))) if len(numbers) == 1 else None


def _read_session(value: dict[int, Any], session: Session) -> None:
    if not text(value.get(1, b"")).startswith("_hparams_/"):
        return
    name, content = _plugin(value)
    if name != "hparams":
        return
    keys = Keys()
    for number, part in fields(content):
        if number == 3:
            for kind, pair in fields(message(part)):
                if kind == 1:
                    entry = dict(fields(message(pair)))
                    key = keys.permitted(text(entry.get(1, b"")))
                    session.params[key] = _hyperparameter(message(entry.get(2, b"")))
        elif number == 4:
            ended = dict(fields(message(part)))
            session.status = SESSION_STATUS.get(signed(ended.get(1, 0)), session.status)


def _hyperparameter(value: bytes) -> str:
    """Return a google.protobuf.Value as text."""
    for number, found in fields(value):
        if number == 2:
            amount = double(found)
            return str(int(amount)) if amount.is_integer() else str(amount)
        if number == 3:
            return text(found)
        if number == 4:
            return str(bool(found))
    return ""
