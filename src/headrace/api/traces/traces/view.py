"""Converts rows of traces to their form in answers."""

from __future__ import annotations

import json
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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.api.traces.assessments.types import AssessmentOut
    from headrace.api.traces.traces.read_sql import Found, InfoRow
    from headrace.auth.redactions import Hidden

_TOKENS: Final = slice(10, 16)  # of an InfoRow
_COSTS: Final = slice(16, 19)
_NO_ROWS: Final = (None, "{}", "{ }", TOO_MANY)


def _known(names: Sequence[str], values: Sequence[float | None]) -> dict[str, float]:
    pairs = zip(names, values, strict=True)
    return {name: value for name, value in pairs if value is not None}


def promoted(row: InfoRow) -> dict[str, str]:
    """Return the metadata that columns have replaced, as MLflow writes it."""
    shown: dict[str, str] = {}
    if row[9] is not None:
        shown[SESSION] = row[9]
    for key, known in (
        (USAGE, _known(TOKEN_COLUMNS, cast("Sequence[float | None]", row[_TOKENS]))),
        (COST, _known(COST_COLUMNS, cast("Sequence[float | None]", row[_COSTS]))),
    ):
        if known:
            shown[key] = json.dumps(known)
    return shown


def with_pairs(text: str | None, pairs: Mapping[str, str], most: int) -> msgspec.Raw | None:
    """Return a JSON object with further texts, each cut to `most` characters; None if it is empty."""
    if not pairs:
        return None if text in _NO_ROWS else msgspec.Raw(text)
    added = encode({key: value[:most] for key, value in pairs.items()}).decode()
    if text is None or text in _NO_ROWS:
        return msgspec.Raw(added)
    return msgspec.Raw(f"{text.rstrip().removesuffix('}')},{added[1:]}")


def _location(experiment_id: int) -> TraceLocation:
    return TraceLocation(
        type=LocationType.MLFLOW_EXPERIMENT,
        mlflow_experiment=ExperimentLocation(experiment_id=str(experiment_id)),
    )


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
        trace_metadata=_shown(with_pairs(row[20], promoted(row), MAX_SHOWN_METADATA), hidden),
        assessments=assessments,
        tags=with_pairs(row[19], {} if name is None else {NAME: name}, MAX_SHOWN_TRACE_TAG_VALUE),
        request_preview=row[6],
        response_preview=row[7],
    )


def infos(found: Found, hidden: Hidden) -> list[TraceInfo]:
    """Return traces without their spans and without what is hidden, in the order of the rows."""
    of_trace: dict[str, list[AssessmentOut]] = {}
    if not hidden.assessments:
        for row in found.assessments:
            of_trace.setdefault(row[1], []).append(assessment(row))
    return [info(row, of_trace.get(row[0], []), hidden) for row in found.rows]


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
