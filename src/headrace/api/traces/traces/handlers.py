"""Handlers that write traces. Times are milliseconds since the epoch."""

from __future__ import annotations

from headrace.api.context import Context
from headrace.api.traces.arriving import ARRIVING
from headrace.api.traces.traces import deletion, read_sql, view
from headrace.api.traces.traces.start import EndTraceV2, StartTrace, StartTraceV2
from headrace.api.traces.traces.tags import MAX_LINKS, DeleteTag, LinkPrompts, LinkToRun, SetTag
from headrace.api.traces.traces.types import Trace, TraceAnswer, TraceInfoV2Answer
from headrace.api.traces.traces.write_types import (
    DeletedTraces,
    DeleteTraces,
    DeleteTraceTag,
    DeleteTraceTagV2,
    EndTraceV2In,
    SetTraceTag,
    SetTraceTagV2,
    StartTraceIn,
    StartTraceV2In,
)
from headrace.api.traces.traces.write_types import (
    LinkPrompts as LinkPromptsIn,
)
from headrace.api.traces.traces.write_types import (
    LinkToRun as LinkToRunIn,
)
from headrace.api.traces.writes import commit, commit_alone
from headrace.auth.redactions import hidden
from headrace.contract.errors import invalid, missing_parameter
from headrace.contract.experiment_ids import parse_id
from headrace.contract.scalars import Empty
from headrace.storage.locations import Locations


async def start(req: StartTraceIn, ctx: Context) -> TraceAnswer:
    """POST /3.0/mlflow/traces

    Creates a trace, or completes the one that its spans have created. The answer is the merged
    trace; it waits for spans that are arriving (`arriving.py`). Errors: RESOURCE_DOES_NOT_EXIST
    (the experiment), INVALID_PARAMETER_VALUE (a deleted or another experiment, a name or session
    that is too long), INVALID_STATE (an archived trace).
    Unlike stock, it accepts no trace without a location or an id.
    """
    info = req.trace.trace_info
    if info is None:
        raise missing_parameter("trace.trace_info")
    write = StartTrace.from_request(info)
    found = await commit(ctx, write, 4000)
    shown = view.infos(found, hidden(ctx.access))[0]
    if write.announces_spans and not view.has_spans(shown):
        (trace_id,) = write.trace_ids
        if await ARRIVING.settled(trace_id):
            later = await ctx.db.read(read_sql.read, [trace_id])
            if later.rows:
                shown = view.infos(later, hidden(ctx.access))[0]
    return TraceAnswer(trace=Trace(trace_info=shown))


async def start_v2(req: StartTraceV2In, ctx: Context) -> TraceInfoV2Answer:
    """POST /2.0/mlflow/traces

    Creates a trace in progress. Errors: RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE.
    """
    found = await commit(ctx, StartTraceV2(req), 4000)
    return TraceInfoV2Answer(trace_info=view.info_v2(found.rows[0], hidden(ctx.access)))


async def end_v2(req: EndTraceV2In, ctx: Context) -> TraceInfoV2Answer:
    """PATCH /2.0/mlflow/traces/{request_id}

    Completes a trace. Errors: RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE.
    """
    found = await commit(ctx, EndTraceV2(req), 4000)
    return TraceInfoV2Answer(trace_info=view.info_v2(found.rows[0], hidden(ctx.access)))


async def set_tag(req: SetTraceTag, ctx: Context) -> Empty:
    """PATCH /3.0/mlflow/traces/{trace_id}/tags

    Errors: RESOURCE_DOES_NOT_EXIST (the trace; stock repeats its driver's error),
    INVALID_PARAMETER_VALUE (the key; a tag that only the server writes).
    """
    await commit(ctx, SetTag(req.trace_id, req.key, req.value))
    return Empty()


async def set_tag_v2(req: SetTraceTagV2, ctx: Context) -> Empty:
    """PATCH /2.0/mlflow/traces/{request_id}/tags

    As `set_tag`.
    """
    await commit(ctx, SetTag(req.request_id, req.key, req.value))
    return Empty()


async def delete_tag(req: DeleteTraceTag, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/traces/{trace_id}/tags

    Errors: RESOURCE_DOES_NOT_EXIST (no such tag), INVALID_PARAMETER_VALUE (a tag that only the
    server writes).
    """
    await ctx.request_ids().check("trace", [req.trace_id])
    await commit_alone(ctx, DeleteTag(req.trace_id, req.key))
    return Empty()


async def delete_tag_v2(req: DeleteTraceTagV2, ctx: Context) -> Empty:
    """DELETE /2.0/mlflow/traces/{request_id}/tags

    As `delete_tag`.
    """
    await ctx.request_ids().check("trace", [req.request_id])
    await commit_alone(ctx, DeleteTag(req.request_id, req.key))
    return Empty()


async def link_to_run(req: LinkToRunIn, ctx: Context) -> Empty:
    """POST /2.0/mlflow/traces/link-to-run

    At most 100 traces. Neither the traces nor the run need to exist; a repetition changes nothing.
    On a server with workspaces, the run must exist (RESOURCE_DOES_NOT_EXIST), and traces that do not
    are left out.
    """
    if len(req.trace_ids) > MAX_LINKS:
        raise invalid(
            f"Cannot link more than {MAX_LINKS} traces to a run in a single request. "
            f"Provided {len(req.trace_ids)} traces."
        )
    ids = ctx.request_ids()
    await ids.check("run", [req.run_id])
    await commit(ctx, LinkToRun(await ids.own("trace", req.trace_ids), req.run_id))
    return Empty()


async def link_prompts(req: LinkPromptsIn, ctx: Context) -> Empty:
    """POST /2.0/mlflow/traces/link-prompts

    Errors: RESOURCE_DOES_NOT_EXIST (the trace), INVALID_PARAMETER_VALUE (a version that is not a
    number; stock answers 500).
    """
    versions = []
    for one in req.prompt_versions:
        version = (one.version or "").strip()
        if not version.isascii() or not version.isdigit():
            raise invalid(f"Invalid version '{version}' of prompt '{one.name or ''}'.")
        versions.append(f"{one.name or ''}/{int(version)}")
    if versions:
        await commit(ctx, LinkPrompts(req.trace_id, versions))
    return Empty()


async def delete(req: DeleteTraces, ctx: Context) -> DeletedTraces:
    """POST /2.0 and /3.0/mlflow/traces/delete-traces

    Deletes the traces of an experiment with these ids, or the oldest ones up to a time. Many traces
    are deleted in portions, each a transaction of its own. Traces of other experiments remain.
    """
    return await _deleted(req, ctx, ctx.artifacts)


async def delete_stored(req: DeleteTraces, ctx: Context) -> DeletedTraces:
    """As `delete`, for the Python API, which has no artifact stores: archived traces raise NotNative."""
    return await _deleted(req, ctx, None)


async def _deleted(req: DeleteTraces, ctx: Context, artifacts: Locations | None) -> DeletedTraces:
    read_sql.check_served(ctx.db.schema)
    number = parse_id(req.experiment_id)
    deletion.check(req.max_timestamp_millis, req.max_traces, req.request_ids)
    if req.request_ids:
        count = await deletion.by_ids(ctx.db, artifacts, number, req.request_ids)
    else:
        max_ms = req.max_timestamp_millis
        assert max_ms is not None, "checked"
        count = await deletion.by_time(ctx.db, artifacts, number, max_ms, req.max_traces)
    return DeletedTraces(traces_deleted=count)
