"""The writes that create, update and delete assessments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from headrace.api.traces.assessments.create import (
    aggregate,
    doubles,
    error_text,
    expected,
    row_of,
)
from headrace.api.traces.writes import Write
from headrace.contract import errors
from headrace.contract.clock import now_ms
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

    def __init__(self, trace_id: str, given: AssessmentIn) -> None:
        """Raises INVALID_PARAMETER_VALUE."""
        super().__init__(trace_id)
        self.row = row_of(given, trace_id, now_ms(), "assessment")

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


class UpdateAssessment(Write):
    """Changes the fields of an assessment that the mask names."""

    __slots__ = ("assessment_id", "given", "mask")

    def __init__(self, trace_id: str, assessment_id: str, given: AssessmentIn, mask: str) -> None:
        """Raises INVALID_PARAMETER_VALUE."""
        super().__init__(trace_id)
        self.assessment_id = assessment_id
        self.given = given
        self.mask = [name for name in mask.split(",") if name in FIELDS]
        if "feedback" in self.mask and "expectation" in self.mask:
            raise invalid("Cannot specify both `expectation` and `feedback` parameters.")

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
        given, changes = self.given, dict[str, Any]()
        if "assessmentName" in self.mask:
            changes["name"] = given.assessment_name or ""
        if "metadata" in self.mask and given.metadata:
            known = json.loads(row.assessment_metadata or "{}")
            changes["assessment_metadata"] = json.dumps(known | given.metadata)
        if "rationale" in self.mask and row.assessment_type != "expectation":
            changes["rationale"] = given.rationale or ""
        for kind, other in (("feedback", "Expectation"), ("expectation", "Feedback")):
            if kind not in self.mask:
                continue
            is_expectation = row.assessment_type == "expectation"
            if is_expectation is not (kind == "expectation") or row.assessment_type == "issue":
                raise invalid(
                    f"Cannot update {kind} value on {'an' if other[0] == 'E' else 'a'} {other} assessment."
                )
            changes |= self._value(kind)
        return changes

    def _value(self, kind: str) -> dict[str, Any]:
        feedback = self.given.feedback
        if kind == "feedback":
            value = None if feedback is None else doubles(feedback.value)
        else:
            value = expected(self.given.expectation)
        number, is_numeric = aggregate(value)
        error = feedback.error if kind == "feedback" and feedback is not None else None
        return {
            "value": json.dumps(value),
            "error": error_text(error),
            "aggregate_value": number,
            "is_numeric_value": is_numeric,
        }


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
