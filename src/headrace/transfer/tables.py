"""The tables of an export, as JSON lines or as Parquet. Rows are written and read one after another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.contract.errors import ApiError, ErrorCode
from headrace.extras import own_install_command
from headrace.transfer.records import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Row = dict[str, Any]
# Columns and their Parquet types. NaN and infinities are texts in JSON lines.
TABLES: Final[dict[str, dict[str, str]]] = {
    "runs": {
        "run_id": "string",
        "name": "string",
        "user_id": "string",
        "status": "string",
        "start_time": "int64",
        "end_time": "int64",
        "lifecycle_stage": "string",
        "artifact_uri": "string",
    },
    "params": {"run_id": "string", "key": "string", "value": "string"},
    "tags": {"run_id": "string", "key": "string", "value": "string"},
    "metrics": {
        "run_id": "string",
        "key": "string",
        "step": "int64",
        "timestamp": "int64",
        "value": "double",
    },
    "datasets": {
        "run_id": "string",
        "name": "string",
        "digest": "string",
        "source_type": "string",
        "source": "string",
        "schema": "string",
        "profile": "string",
        "tags": "string",  # a JSON object
    },
}
FORMATS: Final = ("jsonl", "parquet")
ROWS: Final = 10_000  # of a row group
_encode: Final = msgspec.json.Encoder().encode


class Writer:
    """Writes one table."""

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish the file."""
        raise NotImplementedError


class JsonLines(Writer):
    """One JSON object in a line."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("wb")

    def write(self, rows: Sequence[Row]) -> None:
        """See Writer."""
        for row in rows:
            value = row.get("value")
            if isinstance(value, float) and (value != value or abs(value) == float("inf")):
                row = {**row, "value": str(value)}
            self._file.write(_encode(row) + b"\n")

    def close(self) -> None:
        """See Writer."""
        self._file.close()


class Parquet(Writer):
    """A Parquet file, written in row groups."""

    def __init__(self, file: Path, table: str) -> None:
        arrow = _pyarrow()
        from pyarrow import parquet

        self._schema = arrow.schema(
            [
                (name, getattr(arrow, kind.replace("double", "float64"))())
                for name, kind in TABLES[table].items()
            ]
        )
        self._arrow = arrow
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._rows: list[Row] = []

    def write(self, rows: Sequence[Row]) -> None:
        """See Writer."""
        self._rows += rows
        if len(self._rows) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
            self._rows = []

    def close(self) -> None:
        """See Writer."""
        self._flush()
        self._writer.close()


def writer(directory: Path, table: str, kind: str) -> Writer:
    """Open a table for writing. `kind` is one of FORMATS."""
    file = directory / f"{table}.{kind}"
    return JsonLines(file) if kind == "jsonl" else Parquet(file, table)


def rows(directory: Path, table: str, kind: str) -> Iterator[Row]:
    """Yield the rows of a table."""
    file = directory / f"{table}.{kind}"
    if kind == "jsonl":
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield _row(line, table, f"{file}:{number}")
        return
    arrow = _pyarrow()
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(ROWS):
                if TABLES[table].keys() - set(batch.schema.names):
                    raise unreadable(file, f"it is not the table {table}")
                yield from batch.to_pylist()
    except arrow.ArrowInvalid as error:
        raise unreadable(file, error) from error


def _row(line: bytes, table: str, place: str) -> Row:
    """Return the row in a line. Raises INVALID_PARAMETER_VALUE if it lacks a column."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise unreadable(place, "it is not JSON") from error
    if not isinstance(found, dict) or TABLES[table].keys() - found.keys():
        raise unreadable(place, f"it is not a row of the table {table}")
    return found


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ApiError(
            ErrorCode.NOT_IMPLEMENTED, f"Parquet needs pyarrow: {own_install_command('parquet')}"
        ) from error
    return pyarrow
