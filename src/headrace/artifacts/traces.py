"""Downloads of the web page that belong to traces: their spans as one file, and attachments."""

from __future__ import annotations

import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from headrace.api.traces.spans import archived
from headrace.api.traces.spans import read_sql as spans_sql
from headrace.api.traces.traces import read_sql
from headrace.api.traces.traces.pieces import contents
from headrace.api.traces.traces.reads import trace_not_found
from headrace.artifacts.handlers import send
from headrace.contract.errors import ApiError, ErrorCode, invalid, not_found
from headrace.http.downloads import attachment
from headrace.http.messages import Request, Response, StreamingResponse
from headrace.storage import paths

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from headrace.api.context import Context

FILE: Final = "traces.json"
PIECE_BYTES: Final = 512 << 10
MAX_SPANS: Final = 2000
HEADERS: Final = [
    ("content-disposition", attachment(FILE)),
    ("cache-control", "no-cache"),
    ("x-content-type-options", "nosniff"),
]
HELD_BYTES: Final = 6 << 20  # the keys of 10,000 spans, and twice a piece


async def get_trace_artifact(request: Request, ctx: Context) -> Response:
    """GET /ajax-api/3.0/mlflow/get-trace-artifact?request_id=…[&path=…]

    The spans of a trace in their stored form, from the database or from the file that the client
    uploaded, or from its archive; with `path`, the attachment of that UUID.
    We differ: no ranges of the spans. Errors: BAD_REQUEST (no id), RESOURCE_DOES_NOT_EXIST (no such
    trace), NOT_FOUND (no spans), INVALID_PARAMETER_VALUE (path), and those of `archived.opened`.
    """
    read_sql.check_served(ctx.db.schema)
    fields = request.fields()
    trace_id = fields.get("request_id")
    if not trace_id:
        text = 'Request must include the "request_id" query parameter.'
        raise ApiError(ErrorCode.BAD_REQUEST, text)
    if fields.get("path"):
        path = checked_attachment(paths.safe(fields["path"]))
        place = await ctx.db.read_point(read_sql.storage, trace_id)
        if place is None:
            raise trace_not_found(trace_id)
        return await send(request, ctx.artifacts.resolve(root_of(place), f"attachments/{path}"))
    place = await ctx.db.read_point(read_sql.storage, trace_id)
    if place is None:
        raise not_found(f"Trace with ID {trace_id} is not found.")
    if place.spans == read_sql.ARCHIVED:
        return await archived_spans(ctx, trace_id)
    if place.spans == "TRACKING_STORE":
        return await stored_spans(ctx, trace_id)
    try:
        return await send(request, ctx.artifacts.resolve(root_of(place), FILE))
    except ApiError as error:
        if error.code != ErrorCode.RESOURCE_DOES_NOT_EXIST:
            raise
    raise ApiError(ErrorCode.NOT_FOUND, f"Trace data not found for path={FILE}")


def checked_attachment(path: str) -> str:
    """Return the path if it is a UUID. Raises INVALID_PARAMETER_VALUE."""
    try:
        known = str(uuid.UUID(path)) == path
    except ValueError:
        known = False
    if not known:
        raise ApiError(
            ErrorCode.INVALID_PARAMETER_VALUE,
            f"Invalid attachment path: '{path}'. Attachment path must be a valid UUID.",
            sqlstate="KAM04",
            error_class="ATTRIBUTE_NOT_FOUND",
        )
    return path


def root_of(place: read_sql.TraceStorage) -> str:
    """Return the artifact URI of a trace. Raises INVALID_PARAMETER_VALUE if it has none."""
    if not place.artifacts:
        raise invalid("Unable to determine trace artifact location.")
    return place.artifacts


async def stored_spans(ctx: Context, trace_id: str) -> Response:
    """Return the stored texts of a trace's spans, unparsed. A long trace is sent in pieces."""
    found = await ctx.db.read(spans_sql.small, [trace_id], PIECE_BYTES, MAX_SPANS)
    if not found.complete:
        return _streamed(_in_pieces(contents(ctx.db, trace_id, PIECE_BYTES)))
    texts = found.of_trace.get(trace_id, [])
    if "" in texts:  # the trace has just been archived
        return await archived_spans(ctx, trace_id)
    return _whole(texts)


async def archived_spans(ctx: Context, trace_id: str) -> Response:
    """Return the spans of an archived trace in their stored form."""
    uri = await ctx.db.read_point(read_sql.archive, trace_id)
    archive = await archived.opened(ctx.artifacts, trace_id, uri)
    if archive.size <= PIECE_BYTES:
        try:
            return _whole(await archived.read_all(archive, PIECE_BYTES))
        finally:
            archive.close()
    return _streamed(_in_pieces(_closing(archive)))


async def _closing(archive: archived.Archive) -> AsyncGenerator[Sequence[str], None]:
    try:
        async with aclosing(archive.contents(PIECE_BYTES)) as pieces:
            async for texts in pieces:
                yield texts
    finally:
        archive.close()


def _whole(texts: Sequence[str]) -> Response:
    # Encoded one by one: a text with one emoji takes four bytes for each character.
    body = b'{"spans":[%b]}' % b",".join([text.encode() for text in texts])
    return Response(body, content_type="text/plain", headers=list(HEADERS))


def _streamed(pieces: AsyncGenerator[bytes, None]) -> StreamingResponse:
    return StreamingResponse(
        pieces, content_type="text/plain", headers=list(HEADERS), held_bytes=HELD_BYTES
    )


async def _in_pieces(texts: AsyncGenerator[Sequence[str], None]) -> AsyncGenerator[bytes, None]:
    before = b'{"spans":['
    async with aclosing(texts) as pieces:
        async for some in pieces:
            yield before + b",".join([text.encode() for text in some])
            before = b","
    yield b"]}"
