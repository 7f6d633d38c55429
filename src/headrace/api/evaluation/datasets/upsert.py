"""The records of an upsert: reading them from JSON, and merging those with the same inputs. No I/O.

A record is known by the hash of its inputs. A repeated record replaces the outputs, and adds to the
expectations and tags, of the earlier one.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.contract.errors import ApiError, invalid
from headrace.contract.limits import MAX_EXPLAINED_BYTES
from headrace.contract.texts import refuse_unstorable

if TYPE_CHECKING:
    from collections.abc import Iterator

USER: Final = "mlflow.user"  # the tag with the name of the user who sends a record
WRAPPED: Final = "mlflow_wrapped"  # the key under which the database stores outputs
SOURCE_TYPES: Final = ("UNSPECIFIED", "TRACE", "HUMAN", "DOCUMENT", "CODE")
_ABSENT: Final = object()
# As json.dumps and json.loads, which for each call look at their arguments, or make an encoder.
as_json: Final = json.JSONEncoder().encode
_sorted_json: Final = json.JSONEncoder(sort_keys=True).encode
_read: Final = json.JSONDecoder().decode
_split: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Record:
    """The content of a request for the record with some inputs, all repetitions merged.

    `expectations` and `tags` are those to merge, which may be empty; `first_expectations` is what a
    new record has without any.
    """

    __slots__ = (
        "created_by",
        "expectations",
        "first_expectations",
        "inputs",
        "outputs",
        "source",
        "source_id",
        "source_type",
        "tags",
        "updated_by",
    )

    def __init__(self, inputs: Any) -> None:
        self.inputs = as_json(inputs)
        self.outputs: Any = _ABSENT
        self.expectations: dict[str, Any] = {}
        self.first_expectations: dict[str, Any] | None = None
        self.tags: dict[str, Any] = {}
        self.source: dict[str, Any] | None = None
        self.source_id: str | None = None
        self.source_type: str | None = None
        self.created_by: str | None = None
        self.updated_by: str | None = None

    def new_outputs(self) -> str:
        """The stored outputs of a new record."""
        return self.merged_outputs() or as_json({WRAPPED: {}})

    def merged_outputs(self) -> str | None:
        """The stored outputs of a known record; None keeps the old ones."""
        if self.outputs is _ABSENT:
            return None
        return "null" if self.outputs is None else as_json({WRAPPED: self.outputs})


class Schema:
    """The fields of some records, with the type of the first value of each."""

    __slots__ = ("expectations", "inputs", "output_fields", "output_type", "outputs_are_fields")

    def __init__(self) -> None:
        self.inputs: dict[str, str] = {}
        self.expectations: dict[str, str] = {}
        self.output_fields: dict[str, str] = {}
        self.output_type: str | None = None  # of the first outputs that are no object
        self.outputs_are_fields: bool | None = None  # the first outputs are an object with fields

    def add(self, inputs: dict[str, Any], outputs: Any, expectations: dict[str, Any]) -> None:
        """Add the fields of a record."""
        _add(self.inputs, inputs)
        _add(self.expectations, expectations)
        if isinstance(outputs, dict):
            _add(self.output_fields, outputs)
            if outputs and self.outputs_are_fields is None:
                self.outputs_are_fields = True
        elif outputs is not None and self.output_type is None:
            self.output_type = _type_of(outputs)
            if self.outputs_are_fields is None:
                self.outputs_are_fields = False

    def merged(self, stored: str | None) -> str:
        """The JSON text of a dataset's schema with these fields; its own types stay."""
        known = json.loads(stored) if stored else {}
        outputs = known.get("outputs") or {}
        if isinstance(outputs, dict):
            if outputs or self.outputs_are_fields:
                outputs = _joined(outputs, self.output_fields)
            elif self.output_type is not None:
                outputs = self.output_type
        merged = {
            "inputs": _joined(known.get("inputs") or {}, self.inputs),
            "outputs": outputs,
            "expectations": _joined(known.get("expectations") or {}, self.expectations),
            "version": "1.0",
        }
        return json.dumps(merged | {key: known[key] for key in known if key not in merged})


def _joined(known: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    return known | {key: kind for key, kind in new.items() if key not in known}


def _add(fields: dict[str, str], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if key not in fields:
            fields[key] = _type_of(value)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "float", str: "string", list: "array"}
    return names.get(type(value), "object")


class Upsert:
    """The records of a request by the hash of their inputs, in order, and what follows for the dataset."""

    __slots__ = ("count", "records", "schema", "user")

    def __init__(self, text: str) -> None:
        """Read the JSON text of a list of objects. Raises INVALID_PARAMETER_VALUE."""
        self.records: dict[str, Record] = {}
        self.schema = Schema()
        self.count = 0
        self.user: str | None = None  # of the last record that names one
        for given in _objects(text):
            self._add(given)
            self.count += 1

    def _add(self, given: dict[str, Any]) -> None:
        inputs = given.get("inputs", {})
        if not isinstance(inputs, dict):
            raise _wrong("inputs", "an object")
        key = hashlib.sha256(_sorted_json(inputs).encode()).hexdigest()
        expectations, tags = _field(given, "expectations"), _field(given, "tags")
        outputs = given.get("outputs", _ABSENT)
        user = as_text(tags[USER], USER) if tags and USER in tags else None
        record = self.records.get(key)
        if record is None:
            record = self.records[key] = Record(inputs)
            record.first_expectations = expectations
            record.source = source_of(given.get("source"))
            if record.source is not None:
                record.source_type = record.source["source_type"]
                record.source_id = _source_id(record.source)
            record.created_by = user
        if outputs is not _ABSENT:
            record.outputs = outputs
        record.expectations.update(expectations or {})
        record.tags.update(tags or {})
        if user is not None:
            record.updated_by = self.user = user
        self.schema.add(inputs, given.get("outputs"), expectations or {})


def merged(stored: str | None, new: dict[str, Any]) -> str | None:
    """The JSON text of stored expectations or tags with new ones; None if there are none to add."""
    if not new:
        return None
    return as_json(((_read(stored) if stored else None) or {}) | new)


def source_of(given: Any) -> dict[str, Any] | None:
    """The source of a record as the database stores it. Raises INVALID_PARAMETER_VALUE."""
    if not given:
        return None
    if not isinstance(given, dict) or given.keys() - {"source_type", "source_data"}:
        raise _wrong("source", "an object with source_type and source_data")
    kind, data = given.get("source_type"), given.get("source_data")
    if not isinstance(kind, str):
        raise _wrong("source.source_type", "a text")
    if kind.upper() not in SOURCE_TYPES:
        raise invalid(
            f"Invalid dataset record source type: {kind.upper()}. "
            f"Valid source types: {list(SOURCE_TYPES)}"
        )
    if data is not None and not isinstance(data, dict):
        raise _wrong("source.source_data", "an object")
    return {"source_type": kind.upper(), "source_data": data or {}}


def _source_id(source: dict[str, Any]) -> str | None:
    name = "trace_id" if source["source_type"] == "TRACE" else "source_id"
    found = source["source_data"].get(name)
    return None if found is None else as_text(found, name)


def as_text(value: Any, name: str) -> str:
    """A value that is stored as text. Raises INVALID_PARAMETER_VALUE for a list or an object."""
    if isinstance(value, list | dict):
        raise _wrong(name, "a text")
    text = value if isinstance(value, str) else str(value)
    refuse_unstorable(text, name)
    return text


def _field(given: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = given.get(name)
    if value is not None and not isinstance(value, dict):
        raise _wrong(name, "an object")
    return value


def _wrong(name: str, kind: str) -> ApiError:
    return invalid(f"Invalid value for '{name}': it must be {kind}.")


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the records one by one, so that other threads run in between."""
    try:
        parts = _split(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        yield from _read_at_once(text)
        return
    for part in parts:
        yield _object(_read(str(part, "utf-8")))


def _read_at_once(text: str) -> Iterator[dict[str, Any]]:
    """Read what only Python's parser accepts: NaN, and lone surrogates."""
    try:
        found = json.loads(text) if len(text) <= MAX_EXPLAINED_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise invalid(
            "Invalid value for parameter 'records' supplied: it must be the JSON text of a list."
        )
    yield from map(_object, found)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid("Each dataset record must be an object.")
    return value
