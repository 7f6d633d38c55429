"""Handlers that write assessments."""

from __future__ import annotations

from headrace.api.context import Context
from headrace.api.traces.assessments import view
from headrace.api.traces.assessments.create import row_of
from headrace.api.traces.assessments.read_sql import AssessmentRow
from headrace.api.traces.assessments.types import AssessmentAnswer
from headrace.api.traces.assessments.write_sql import Row
from headrace.api.traces.assessments.write_types import (
    CreateAssessment as CreateIn,
)
from headrace.api.traces.assessments.write_types import (
    DeleteAssessment as DeleteIn,
)
from headrace.api.traces.assessments.write_types import (
    UpdateAssessment as UpdateIn,
)
from headrace.api.traces.assessments.writes import (
    CreateAssessment,
    DeleteAssessment,
    UpdateAssessment,
    requested_change,
)
from headrace.api.traces.writes import commit
from headrace.contract.clock import now_ms
from headrace.contract.scalars import Empty


def _answer(row: Row) -> AssessmentAnswer:
    shown = AssessmentRow._make(row[: len(AssessmentRow._fields)])
    return AssessmentAnswer(assessment=view.assessment(shown))


async def create(req: CreateIn, ctx: Context) -> AssessmentAnswer:
    """POST /3.0/mlflow/traces/{trace_id}/assessments

    Errors: RESOURCE_DOES_NOT_EXIST (the trace, the overridden assessment), RESOURCE_ALREADY_EXISTS
    (an id of the client's choice; stock answers 500), INVALID_PARAMETER_VALUE (no kind).
    """
    row = row_of(req.assessment, req.trace_id, now_ms(), "assessment")
    return _answer(await commit(ctx, CreateAssessment(row)))


async def update(req: UpdateIn, ctx: Context) -> AssessmentAnswer:
    """PATCH /3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}

    Changes the fields that the mask names. Errors: RESOURCE_DOES_NOT_EXIST,
    INVALID_PARAMETER_VALUE (a value of another kind).
    """
    await ctx.request_ids().check("trace", [req.trace_id])
    change = requested_change(req.assessment, req.update_mask)
    return _answer(await commit(ctx, UpdateAssessment(req.trace_id, req.assessment_id, change)))


async def delete(req: DeleteIn, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}

    An assessment that does not exist is no error. Errors: RESOURCE_DOES_NOT_EXIST (the trace, on a
    server with workspaces).
    """
    await ctx.request_ids().check("trace", [req.trace_id])
    await commit(ctx, DeleteAssessment(req.trace_id, req.assessment_id))
    return Empty()
