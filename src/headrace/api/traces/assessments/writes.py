"""The writes that create, update and delete assessments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.api.traces.assessments.create import (
    Kind,
    aggregate,
    doubles,
    error_text,
    expected,
)
from headrace.api.traces.writes import Write
from headrace.contract import errors
from headrace.contract.errors import ApiError, ErrorCode, invalid

if TYPE_CHECKING:
    from headrace.api.traces.assessments.write_sql import Row
    from headrace.api.traces.assessments.write_types import AssessmentIn
    from headrace.api.traces.state import Group, Needs

# The fields of an update mask; all others are ignored, as by stock.
FIELDS: Final = ("assessmentName", "feedback", "expectation", "rationale", "metadata")


def not_found(assessment_id: str, trace_id: str) -> ApiError:
    """Return the error for an assessment that the trace does not have."""
    return errors.not_found(
        f"Assessment with ID '{assessment_id}' not found for trace '{trace_id}'"
    )


class CreateAssessment(Write):
    """Creates an assessment; one that it overrides is then not valid any more."""

    __slots__ = ("row",)

    def __init__(self, row: Row) -> None:
        super().__init__(row.trace_id)
        self.row = row

    def need(self, needs: Needs) -> None:
        super().need(needs)
        needs.assessments.add(self.row.assessment_id)
        if self.row.overrides:
            needs.assessments.add(self.row.overrides)

    def apply(self, group: Group) -> Row:
        trace_id = self.trace_ids[0]
        held = group.existing(trace_id)
        row = self.row
        overridden = group.assessments.get(row.overrides) if row.overrides else None
        if row.overrides and (overridden is None or overridden.trace_id != trace_id):
            raise not_found(row.overrides, trace_id)
        stored = group.assessments.get(row.assessment_id)
        if stored is not None:
            if stored[:14] != row[:14]:  # else an attempt with an unknown outcome has stored it
                raise ApiError(
                    ErrorCode.RESOURCE_ALREADY_EXISTS,
                    f"Assessment with ID '{row.assessment_id}' already exists.",
                )
            return stored
        if overridden is not None:
            group.assess(overridden._replace(valid=False), held)
        return group.assess(row, held)


class Change(NamedTuple):
    """Changes of an assessment; None: unchanged. `columns` are those of a value of this `kind`."""

    name: str | None = None
    rationale: str | None = None
    metadata: dict[str, str] | None = None  # added to the present one
    kind: Kind | None = None
    columns: dict[str, Any] = {}


def value_columns(value: Any, error: str | None) -> dict[str, Any]:
    """Return the columns of a value and of the JSON text of an error."""
    number, is_numeric = aggregate(value)
    return {
        "value": json.dumps(value),
        "error": error,
        "aggregate_value": number,
        "is_numeric_value": is_numeric,
    }


def requested_change(given: AssessmentIn, mask: str) -> Change:
    """Return the changes of the fields that the mask names. Raises INVALID_PARAMETER_VALUE."""
    fields = [name for name in mask.split(",") if name in FIELDS]
    if "feedback" in fields and "expectation" in fields:
        raise invalid("Cannot specify both `expectation` and `feedback` parameters.")
    kind: Kind | None = None
    columns: dict[str, Any] = {}
    if "feedback" in fields:
        kind, feedback = "feedback", given.feedback
        value = None if feedback is None else doubles(feedback.value)
        error = None if feedback is None else error_text(feedback.error)
        columns = value_columns(value, error)
    elif "expectation" in fields:
        kind = "expectation"
        columns = value_columns(expected(given.expectation), None)
    return Change(
        (given.assessment_name or "") if "assessmentName" in fields else None,
        (given.rationale or "") if "rationale" in fields else None,
        given.metadata if "metadata" in fields else None,
        kind,
        columns,
    )


class UpdateAssessment(Write):
    """Changes an assessment."""

    __slots__ = ("assessment_id", "change")

    def __init__(self, trace_id: str, assessment_id: str, change: Change) -> None:
        super().__init__(trace_id)
        self.assessment_id = assessment_id
        self.change = change

    def need(self, needs: Needs) -> None:
        super().need(needs)
        needs.assessments.add(self.assessment_id)

    def apply(self, group: Group) -> Row:
        trace_id = self.trace_ids[0]
        held = group.traces.get(trace_id)
        if held is None:
            raise errors.not_found(f"Trace with request_id '{trace_id}' not found")
        row = group.assessments.get(self.assessment_id)
        if row is None or row.trace_id != trace_id:
            raise not_found(self.assessment_id, trace_id)
        changes = self._changes(row)
        return group.assess(row._replace(last_updated_timestamp=group.now_ms, **changes), held)

    def _changes(self, row: Row) -> dict[str, Any]:
        """The columns that change. Raises INVALID_PARAMETER_VALUE."""
        change, changes = self.change, dict(self.change.columns)
        if change.name is not None:
            changes["name"] = change.name
        if change.metadata:
            known = json.loads(row.assessment_metadata or "{}")
            changes["assessment_metadata"] = json.dumps(known | change.metadata)
        is_expectation = row.assessment_type == "expectation"
        if change.rationale is not None and not is_expectation:
            changes["rationale"] = change.rationale
        if change.kind is not None and change.kind != row.assessment_type:
            other = "an Expectation" if change.kind == "feedback" else "a Feedback"
            raise invalid(f"Cannot update {change.kind} value on {other} assessment.")
        return changes


class DeleteAssessment(Write):
    """Deletes an assessment, if it exists; the one that it overrides is valid again."""

    __slots__ = ("assessment_id",)

    def __init__(self, trace_id: str, assessment_id: str) -> None:
        super().__init__(trace_id)
        self.assessment_id = assessment_id

    def need(self, needs: Needs) -> None:
        super().need(needs)
        needs.assessments.add(self.assessment_id)
        needs.overridden.add(self.assessment_id)

    def apply(self, group: Group) -> None:
        row = group.assessments.get(self.assessment_id)
        if row is None or row.trace_id != self.trace_ids[0]:
            return
        held = group.existing(self.trace_ids[0])
        overridden = group.assessments.get(row.overrides) if row.overrides else None
        if overridden is not None and overridden.trace_id == row.trace_id:
            group.assess(overridden._replace(valid=True), held)
        group.forget(self.assessment_id)
