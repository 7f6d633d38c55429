"""Converts rows of traces to their form in answers."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

import msgspec

from headrace.api.nouns import KeyValue
from headrace.api.results import encode
from headrace.api.traces.assessments.view import assessment
from headrace.api.traces.rfc3339 import duration, timestamp
from headrace.api.traces.traces.read_sql import (
    COST,
    COST_COLUMNS,
    NAME,
    SESSION,
    TOKEN_COLUMNS,
    TOO_MANY,
    USAGE,
)
from headrace.api.traces.traces.types import (
    ExperimentLocation,
    LocationType,
    TraceInfo,
    TraceInfoV2,
    TraceLocation,
)
from headrace.contract.limits import MAX_SHOWN_METADATA, MAX_SHOWN_TRACE_TAG_VALUE
from headrace.otlp.values import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.api.traces.assessments.types import AssessmentOut
    from headrace.api.traces.traces.read_sql import Found, InfoRow
    from headrace.auth.redactions import Hidden

_TOKENS: Final = slice(10, 16)  # of an InfoRow
_COSTS: Final = slice(16, 19)
_REPLACED: Final = tuple(
    (key, names, tuple(f'\\"{name}\\": ' for name in names), place)
    for key, names, place in ((USAGE, TOKEN_COLUMNS, _TOKENS), (COST, COST_COLUMNS, _COSTS))
)
_ALL_NULL: Final = {key: (None,) * len(names) for key, names, _, _ in _REPLACED}
_NO_ROWS: Final = (None, "{}", "{ }", TOO_MANY)


# PostgreSQL writes a space before the colon, SQLite does not.
_SPANS_TAG: Final = re.compile(rb'"mlflow\.trace\.spansLocation" ?:')


def _columns(
    key: str, names: Sequence[str], prefixes: Sequence[str], values: Sequence[float | None]
) -> str:
    """Return the metadata that columns have replaced, as MLflow writes it: a member of a JSON object."""
    known = [
        prefix + repr(value)
        for prefix, value in zip(prefixes, values, strict=True)
        if value is not None
    ]
    escaped = ", ".join(known)
    if len(escaped) < MAX_SHOWN_METADATA:  # the text without escapes is shorter
        return f'"{key}":"{{{escaped}}}"'
    pairs = zip(names, values, strict=True)
    shown = ", ".join(f'"{name}": {value!r}' for name, value in pairs if value is not None)
    return f'"{key}":{quote(f"{{{shown}}}"[:MAX_SHOWN_METADATA])}'


def _promoted(row: InfoRow) -> list[str]:
    """Return the metadata that columns have replaced, as members of a JSON object."""
    members: list[str] = []
    if row[9] is not None:
        members.append(f'"{SESSION}":{quote(row[9][:MAX_SHOWN_METADATA])}')
    for key, names, prefixes, place in _REPLACED:
        values = cast("Sequence[float | None]", row[place])
        if values != _ALL_NULL[key]:
            members.append(_columns(key, names, prefixes, values))
    return members


def _joined(text: str | None, members: Sequence[str]) -> str | None:
    """Return a JSON object with further members; None if it is empty."""
    if text is None or text in _NO_ROWS:
        return f"{{{','.join(members)}}}" if members else None
    if not members:
        return text
    return f"{text.rstrip().removesuffix('}')},{','.join(members)}}}"


def with_members(text: str | None, members: Sequence[str]) -> msgspec.Raw | None:
    """Return a JSON object with further members; None if it is empty."""
    joined = _joined(text, members)
    return None if joined is None else msgspec.Raw(joined)


@lru_cache(maxsize=256)
def _location(experiment_id: int) -> TraceLocation:
    return TraceLocation(
        type=LocationType.MLFLOW_EXPERIMENT,
        mlflow_experiment=ExperimentLocation(experiment_id=str(experiment_id)),
    )


def _name(name: str | None) -> Sequence[str]:
    if name is None:
        return ()
    return (f'"{NAME}":{quote(name[:MAX_SHOWN_TRACE_TAG_VALUE])}',)


def _shown(metadata: msgspec.Raw | None, hidden: Hidden) -> msgspec.Raw | None:
    """Return metadata without the hidden keys; None if it is empty."""
    withheld = hidden.trace_metadata()
    if metadata is None or not withheld:
        return metadata
    pairs = msgspec.json.decode(metadata)
    left = {key: value for key, value in pairs.items() if key not in withheld}
    return msgspec.Raw(encode(left)) if left else None


def info(row: InfoRow, assessments: list[AssessmentOut], hidden: Hidden) -> TraceInfo:
    """Return a trace without its spans and without hidden metadata."""
    lasted, name = row[3], row[8]
    return TraceInfo(
        trace_id=row[0],
        client_request_id=row[5],
        trace_location=_location(row[1]),
        request_time=timestamp(row[2]),
        execution_duration=None if lasted is None else duration(lasted),
        state=row[4],
        trace_metadata=_shown(with_members(row[20], _promoted(row)), hidden),
        assessments=assessments,
        tags=with_members(row[19], _name(name)),
        request_preview=row[6],
        response_preview=row[7],
    )


def has_spans(shown: TraceInfo) -> bool:
    """Return whether a tag says where the spans of a trace are."""
    return shown.tags is not None and _SPANS_TAG.search(shown.tags) is not None


def infos(found: Found, hidden: Hidden) -> list[TraceInfo]:
    """Return traces without their spans and without what is hidden, in the order of the rows."""
    of_trace: dict[str, list[AssessmentOut]] = {}
    if not hidden.assessments:
        for row in found.assessments:
            of_trace.setdefault(row[1], []).append(assessment(row))
    return [info(row, of_trace.get(row[0], []), hidden) for row in found.rows]


def texts(found: Found, hidden: Hidden) -> list[msgspec.Raw]:
    """Return `infos` as JSON, without a Struct for each: in half the time."""
    if found.assessments or hidden.trace_metadata():
        return [msgspec.Raw(encode(one)) for one in infos(found, hidden)]
    return [msgspec.Raw(_text(row)) for row in found.rows]


def _text(row: InfoRow) -> str:
    """Return the JSON of a trace without assessments."""
    client_id, lasted, name, metadata, tags = row[5], row[3], row[8], row[20], row[19]
    parts = [f'{{"trace_id":{quote(row[0])}']
    if client_id is not None:
        parts.append(f'"client_request_id":{quote(client_id)}')
    parts.append(f'"trace_location":{_location_text(row[1])},"request_time":"{timestamp(row[2])}"')
    if lasted is not None:
        parts.append(f'"execution_duration":"{duration(lasted)}"')
    parts.append(f'"state":{quote(row[4])}')
    if (shown := _joined(metadata, _promoted(row))) is not None:
        parts.append(f'"trace_metadata":{shown}')
    if (shown := _joined(tags, _name(name))) is not None:
        parts.append(f'"tags":{shown}')
    if row[6] is not None:
        parts.append(f'"request_preview":{quote(row[6])}')
    if row[7] is not None:
        parts.append(f'"response_preview":{quote(row[7])}')
    return ",".join(parts) + "}"


@lru_cache(maxsize=256)
def _location_text(experiment_id: int) -> str:
    return encode(_location(experiment_id)).decode()


def _pairs(raw: msgspec.Raw | None) -> list[KeyValue]:
    return [] if raw is None else [KeyValue(k, v) for k, v in msgspec.json.decode(raw).items()]


def info_v2(row: InfoRow, hidden: Hidden) -> TraceInfoV2:
    """Return a trace as clients before MLflow 3 know it."""
    shown = info(row, [], hidden)
    state = "TRACE_STATUS_UNSPECIFIED" if row[4] == "STATE_UNSPECIFIED" else row[4]
    return TraceInfoV2(
        request_id=row[0],
        experiment_id=str(row[1]),
        timestamp_ms=row[2],
        execution_time_ms=row[3] or 0,
        status=state,
        request_metadata=_pairs(shown.trace_metadata),
        tags=_pairs(shown.tags),
    )


def infos_v2(rows: Sequence[InfoRow], hidden: Hidden) -> list[TraceInfoV2]:
    """Return traces as clients before MLflow 3 know them."""
    return [info_v2(row, hidden) for row in rows]
