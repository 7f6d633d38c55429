"""Handlers that read assessments."""

from __future__ import annotations

from headrace.api.context import Context
from headrace.api.traces.assessments import read_sql
from headrace.api.traces.assessments.types import AssessmentAnswer, GetAssessment
from headrace.api.traces.assessments.view import assessment
from headrace.contract.errors import ApiError, not_found
from headrace.db.base import Tx


def assessment_not_found(trace_id: str, assessment_id: str) -> ApiError:
    """Return the error for an assessment that does not exist, or belongs to another trace."""
    return not_found(f"Assessment with ID '{assessment_id}' not found for trace '{trace_id}'")


async def find(tx: Tx, trace_id: str, assessment_id: str) -> read_sql.AssessmentRow:
    """Return an assessment of a trace. Raises RESOURCE_DOES_NOT_EXIST."""
    row = await read_sql.one(tx, trace_id, assessment_id)
    if row is not None:
        return row
    if not await read_sql.has_trace(tx, trace_id):
        raise not_found(f"Trace with request_id '{trace_id}' not found")
    raise assessment_not_found(trace_id, assessment_id)


async def get(req: GetAssessment, ctx: Context) -> AssessmentAnswer:
    """GET /3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}

    Errors: RESOURCE_DOES_NOT_EXIST (no such trace or assessment).
    """
    read_sql.check_served(ctx.db.schema)
    await ctx.request_ids().check("trace", [req.trace_id or ""])
    row = await ctx.db.read_point(find, req.trace_id or "", req.assessment_id or "")
    return AssessmentAnswer(assessment=assessment(row))
