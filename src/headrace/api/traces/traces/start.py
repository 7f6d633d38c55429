"""The writes that create a trace from a client's information: those of MLflow 3 and 2."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from headrace.api.traces.assessments.create import row_of
from headrace.api.traces.request_times import duration_ms, time_ms
from headrace.api.traces.state import (
    ARTIFACT_LOCATION,
    FINALIZED,
    NAME,
    SPANS_LOCATION,
    Group,
    Needs,
    artifact_location,
    elsewhere,
    no_longer_here,
)
from headrace.api.traces.traces.read_sql import SIZE_STATS, announced_spans
from headrace.api.traces.traces.single_sql import REPLACED_BY_VALUES
from headrace.api.traces.traces.write_sql import COSTS, TOKENS
from headrace.api.traces.writes import Write
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.experiment_ids import parse_id
from headrace.contract.names import check_length
from headrace.otlp.usage import cost, token_count, values_of

if TYPE_CHECKING:
    from headrace.api.traces.assessments.write_sql import Row
    from headrace.api.traces.state import Held
    from headrace.api.traces.traces.write_types import EndTraceV2In, StartTraceV2In, TraceInfoIn

SESSION: Final = "mlflow.trace.session"
TOKEN_USAGE: Final = "mlflow.trace.tokenUsage"
COST: Final = "mlflow.trace.cost"
ARCHIVE_LOCATION: Final = "mlflow.trace.archiveLocation"
ARCHIVAL_FAILURE: Final = "mlflow.trace.archivalFailure"
# Tags that only the server writes. A client's are dropped, as by MLflow 3.18; with the first of
# them, 3.17 answers that the trace no longer exists.
SYSTEM_TAGS: Final = frozenset(
    {ARTIFACT_LOCATION, SPANS_LOCATION, ARCHIVE_LOCATION, ARCHIVAL_FAILURE}
)
STATES: Final = ("OK", "ERROR", "IN_PROGRESS")
UNSPECIFIED: Final = "STATE_UNSPECIFIED"
MAX_NAME: Final = 4096  # characters
MAX_SESSION: Final = 250  # characters
MIN_INT64: Final = -(2**63)
MAX_INT64: Final = 2**63 - 1
# An id is a part of the path of the trace's artifacts (rules of MLflow 3.18).
_BAD_ID: Final = re.compile(r"[/\\%?#\x00-\x1f\x7f]")


def promoted(metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the columns that metadata fills, and the rest of it. Raises INVALID_PARAMETER_VALUE."""
    columns: dict[str, Any] = {}
    if SESSION in metadata:
        check_length("Session ID", MAX_SESSION, metadata[SESSION])
        columns["session_id"] = metadata[SESSION]
    usage, costs = values_of(metadata.get(TOKEN_USAGE)) or {}, values_of(metadata.get(COST)) or {}
    columns |= {name: token_count(usage[name]) for name in TOKENS if name in usage}
    columns |= {name: cost(costs[name]) for name in COSTS if name in costs}
    return columns, {k: v for k, v in metadata.items() if k not in (SESSION, TOKEN_USAGE, COST)}


def named(tags: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the column that tags fill, and the rest without system tags. Raises INVALID_PARAMETER_VALUE."""
    check_length("Trace name", MAX_NAME, tags.get(NAME))
    columns = {"trace_name": tags[NAME]} if NAME in tags else {}
    return columns, {k: v for k, v in tags.items() if k != NAME and k not in SYSTEM_TAGS}


def check_trace_id(trace_id: str) -> str:
    """Return an id that a client chose for a trace. Raises INVALID_PARAMETER_VALUE."""
    if trace_id in ("", ".", "..") or trace_id[-1] in " ." or _BAD_ID.search(trace_id):
        raise invalid(
            f"Invalid value \"{trace_id}\" for parameter 'trace_id' supplied: must be a single path component"
        )
    return trace_id


def experiment_of(info: TraceInfoIn) -> int:
    """Return the id of the experiment. Raises INVALID_PARAMETER_VALUE."""
    location = info.trace_location
    inside = location.mlflow_experiment if location is not None else None
    if location is None or inside is None or location.inference_table is not None:
        raise invalid("The trace must have a trace_location with an mlflow_experiment.")
    if location.type != "MLFLOW_EXPERIMENT":
        raise invalid(
            "Trace location type TraceLocationType.TRACE_LOCATION_TYPE_UNSPECIFIED does not match the "
            f"provided location MlflowExperimentLocation(experiment_id='{inside.experiment_id or ''}')."
        )
    return parse_id(inside.experiment_id or "")


class _Information(Write):
    """Information that a client sends about a trace: columns, tags and metadata."""

    __slots__ = ("columns", "metadata", "tags")
    columns: dict[str, Any]
    metadata: dict[str, str]
    tags: dict[str, str]

    reads_back = True

    def check_lengths(self, group: Group) -> None:
        """Raise BAD_REQUEST for texts that are longer than their columns."""
        names = ("client_request_id", "request_preview", "response_preview")
        texts = {name: self.columns[name] for name in names if name in self.columns}
        error = group.too_long(request_id=self.trace_ids[0], **texts)
        for pairs in (self.tags, self.metadata):
            for key, value in pairs.items():
                error = error or group.too_long(key=key, value=value)
        if error is not None:
            raise error

    def fill(self, held: Held) -> None:
        """Set the columns, tags and metadata."""
        columns = dict(self.columns)
        if "timestamp_ms" in columns:
            held.move(columns.pop("timestamp_ms"))
        held.change(**columns)
        for key, value in self.tags.items():
            held.tag(key, value)
        for key, value in sorted(self.metadata.items()):
            held.note(key, value)


class StartTrace(_Information):
    """Creates a trace, or completes the one that its spans have created."""

    __slots__ = ("assessments", "experiment_id")

    def __init__(
        self,
        trace_id: str,
        experiment_id: int,
        columns: dict[str, Any],
        tags: Mapping[str, str],
        metadata: Mapping[str, str],
        assessments: list[Row],
    ) -> None:
        """Raises INVALID_PARAMETER_VALUE.

        `columns` lacks those that tags and metadata fill.
        """
        super().__init__(trace_id)
        name, self.tags = named(tags)
        self.experiment_id = experiment_id
        more, self.metadata = promoted(metadata)
        self.metadata[FINALIZED] = "true"
        self.columns = columns | name | more
        self.assessments = assessments

    def in_one_statement(self) -> tuple[int, int] | None:
        # The statement leaves a column as it is if its new value is NULL.
        clears = any(self.columns.get(name, "") is None for name in REPLACED_BY_VALUES)
        return None if self.assessments or clears else (0, 0)

    @property
    def announces_spans(self) -> bool:
        """Whether the client says that the trace has spans."""
        return announced_spans(self.metadata.get(SIZE_STATS)) > 0

    @classmethod
    def from_request(cls, info: TraceInfoIn) -> StartTrace:
        """Return the write of a request. Raises INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST."""
        trace_id = check_trace_id(info.trace_id or "")
        where = "trace.trace_info"
        time, duration = info.request_time, info.execution_duration
        columns: dict[str, Any] = {
            "timestamp_ms": time_ms(time, f"{where}.request_time") if time else 0,
            "execution_time_ms": duration_ms(duration, f"{where}.execution_duration")
            if duration
            else None,
            "status": info.state if info.state in STATES else UNSPECIFIED,
            "client_request_id": info.client_request_id,
        }
        for name in ("request_preview", "response_preview"):
            if (text := getattr(info, name)) is not None:
                columns[name] = text
        assessments = [
            row_of(one, trace_id, now_ms(), f"{where}.assessments[{n}]")
            for n, one in enumerate(info.assessments)
        ]
        experiment_id, metadata = experiment_of(info), info.trace_metadata or {}
        return cls(trace_id, experiment_id, columns, info.tags or {}, metadata, assessments)

    def need(self, needs: Needs) -> None:
        super().need(needs)
        needs.experiments.add(self.experiment_id)
        needs.assessments.update(row.assessment_id for row in self.assessments)

    def apply(self, group: Group) -> None:
        (trace_id,) = self.trace_ids
        experiment = group.active(self.experiment_id)
        self.check_lengths(group)
        held = group.traces.get(trace_id)
        if held is not None:
            if held.row["experiment_id"] != self.experiment_id:
                raise elsewhere(trace_id)
            if not held.is_stored_here:
                raise no_longer_here(trace_id)
        for row in self.assessments:
            known = group.assessments.get(row.assessment_id)
            if known is not None and known.trace_id != trace_id:
                raise invalid(f"Assessment with ID '{row.assessment_id}' belongs to another trace.")
        if held is None:
            held = group.create(trace_id, experiment, **dict(self.columns, timestamp_ms=0))
        else:
            held.change(db_payload_generation=held.row["db_payload_generation"] + 1)
            held.tag(ARTIFACT_LOCATION, artifact_location(experiment, trace_id))
        self.fill(held)
        for row in self.assessments:
            group.assess(row, held)


def _pairs(given: Iterable[Any]) -> dict[str, str]:
    return {one.key or "": one.value or "" for one in given}


class StartTraceV2(_Information):
    """Creates a trace of a client before MLflow 3, with an id of the server's choice."""

    __slots__ = ("experiment_id",)

    def __init__(self, req: StartTraceV2In) -> None:
        super().__init__(uuid.uuid4().hex)
        columns, self.tags = named(_pairs(req.tags))
        self.experiment_id = parse_id(req.experiment_id or "")
        more, self.metadata = promoted(_pairs(req.request_metadata))
        self.columns = {
            "timestamp_ms": req.timestamp_ms or 0,
            "status": "IN_PROGRESS",
            **columns,
            **more,
        }

    def need(self, needs: Needs) -> None:
        super().need(needs)
        needs.experiments.add(self.experiment_id)

    def apply(self, group: Group) -> None:
        (trace_id,) = self.trace_ids
        experiment = group.active(self.experiment_id)
        self.check_lengths(group)
        if trace_id not in group.traces:  # else an attempt with an unknown outcome has created it
            self.fill(group.create(trace_id, experiment, **self.columns))


class EndTraceV2(_Information):
    """Completes a trace of a client before MLflow 3."""

    __slots__ = ("end_ms",)

    def __init__(self, req: EndTraceV2In) -> None:
        super().__init__(req.request_id)
        columns, self.tags = named(_pairs(req.tags))
        more, self.metadata = promoted(_pairs(req.request_metadata))
        self.end_ms = req.timestamp_ms or 0
        status = req.status if req.status in STATES else UNSPECIFIED
        self.columns = {"status": status, **columns, **more}

    def apply(self, group: Group) -> None:
        held = group.existing(self.trace_ids[0])
        self.check_lengths(group)
        duration = self.end_ms - held.row["timestamp_ms"]
        if not MIN_INT64 <= duration <= MAX_INT64:
            raise ApiError(ErrorCode.BAD_REQUEST, "The duration of the trace is out of range.")
        held.change(execution_time_ms=duration)
        self.fill(held)
