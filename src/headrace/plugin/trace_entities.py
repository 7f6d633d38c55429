"""Conversion of rows of traces, spans and assessments to MLflow's entities."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec
from mlflow.entities import Trace, TraceData, TraceInfo, TraceState
from mlflow.entities.span import LazySpan
from mlflow.entities.trace_location import TraceLocation
from mlflow.store.tracking.dbmodels.models import SqlAssessments

from headrace.api.traces.traces.read_sql import (
    COST,
    COST_COLUMNS,
    NAME,
    SESSION,
    TOKEN_COLUMNS,
    USAGE,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import Assessment

    from headrace.api.traces.traces.read_sql import Found, InfoRow

_decode: Final = msgspec.json.Decoder(dict[str, str | None]).decode


def assessment(row: Any) -> Assessment:
    """Convert a row of `assessments`."""
    # It only reads attributes, which a row has too.
    shown: Assessment = SqlAssessments.to_mlflow_entity(row._replace(valid=bool(row.valid)))
    return shown


def _info(row: InfoRow, assessments: list[Assessment]) -> TraceInfo:
    tags: dict[str, Any] = dict(_decode(row.tags)) if row.tags else {}
    if row.trace_name is not None:
        tags[NAME] = row.trace_name
    metadata: dict[str, Any] = dict(_decode(row.metadata)) if row.metadata else {}
    if row.session_id is not None:
        metadata[SESSION] = row.session_id
    for key, names in ((USAGE, TOKEN_COLUMNS), (COST, COST_COLUMNS)):
        known = {name: value for name in names if (value := getattr(row, name)) is not None}
        if known:
            metadata[key] = json.dumps(known)
    return TraceInfo(
        trace_id=row.request_id,
        trace_location=TraceLocation.from_experiment_id(str(row.experiment_id)),
        request_time=row.timestamp_ms,
        execution_duration=row.execution_time_ms,
        state=TraceState(row.status),
        tags=tags,
        trace_metadata=metadata,
        client_request_id=row.client_request_id,
        request_preview=row.request_preview,
        response_preview=row.response_preview,
        assessments=assessments,
    )


def infos(found: Found) -> list[TraceInfo]:
    """Convert traces without their spans, in the order of the rows."""
    from headrace.api.traces.assessments.read_sql import AssessmentRow
    from headrace.api.traces.traces.read_sql import InfoRow

    of_trace: dict[str, list[Assessment]] = {}
    for row in found.assessments:
        of_trace.setdefault(row[1], []).append(assessment(AssessmentRow(*row)))
    return [_info(InfoRow(*row), of_trace.get(row[0], [])) for row in found.rows]


def trace(info: TraceInfo, contents: Sequence[str]) -> Trace:
    """Convert a trace with its spans, which MLflow decodes when they are used."""
    return Trace(
        info=info, data=TraceData(spans=[LazySpan.from_stored_content(one) for one in contents])
    )
