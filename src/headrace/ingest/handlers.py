"""POST /v1/traces: spans from OpenTelemetry's exporters and from MLflow's clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from headrace.api.traces.arriving import ARRIVING
from headrace.api.traces.spans.log import LogSpans
from headrace.api.traces.traces import read_sql
from headrace.api.traces.writes import commit
from headrace.contract.errors import ApiError
from headrace.contract.experiment_ids import parse_id
from headrace.contract.limits import MAX_OTLP_BYTES
from headrace.db.errors import DatabaseError
from headrace.http import codec
from headrace.http.messages import JSON, Request, Response, TooLong
from headrace.otlp.batch import NotASpan
from headrace.otlp.decode import Decoded, NoSpans, TooMuch, decode
from headrace.otlp.inflate import Broken, TooLarge, inflated
from headrace.otlp.prices import Prices
from headrace.otlp.span import Malformed

if TYPE_CHECKING:
    from headrace.api.context import Context

EXPERIMENT: Final = "x-mlflow-experiment-id"
RUN: Final = "x-mlflow-run-id"
PROTOBUF: Final = "application/x-protobuf"
ENCODINGS: Final = ("gzip", "deflate")
# A longer body is decoded in a thread, so that the event loop runs in between. 16 KiB take 1.5 ms.
INLINE_BYTES: Final = 16 << 10
MISSING: Final = {
    "detail": [
        {"type": "missing", "loc": ["header", EXPERIMENT], "msg": "Field required", "input": None}
    ]
}
NO_FORMAT: Final = "Invalid OpenTelemetry format"


class Refused(Exception):
    """The request gets the error body of stock's native routes."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Decoding:
    """Decodes one long body at a time, with the prices of models, which are loaded on first use."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._prices: Prices | None = None

    async def decode(self, body: bytes, *, is_json: bool) -> Decoded:
        """The spans of a body. Raises as `otlp.decode.decode`."""
        if self._prices is None:
            async with self._turn:
                self._prices = self._prices or await asyncio.to_thread(Prices.load)
        if len(body) <= INLINE_BYTES:
            return decode(body, self._prices, is_json=is_json)
        async with self._turn:
            return await asyncio.to_thread(decode, body, self._prices, is_json=is_json)


_decoding: Final = Decoding()


async def export(request: Request, ctx: Context) -> Response:
    """POST /v1/traces

    Stores spans and creates or extends their traces; all of them or none. Spans beyond a limit are
    rejected with OTLP's partial success. Errors: 400 (not OTLP), 413 (too long), 422 (no header
    with the experiment; a span without ids), RESOURCE_DOES_NOT_EXIST (the experiment, with workspaces the run),
    INVALID_PARAMETER_VALUE (a trace of another experiment, a deleted experiment), INVALID_STATE (an
    archived trace).
    """
    read_sql.check_served(ctx.db.schema)
    experiment = request.headers.get(EXPERIMENT)
    if experiment is None:
        return Response(codec.encode(MISSING), status=422)
    try:
        media = _media_type(request.headers.get("content-type"))
        decoded = await _decoded(request, is_json=media == JSON)
    except Refused as refusal:
        return Response(codec.encode({"detail": refusal.text}), status=refusal.status)
    batch = decoded.batch
    if batch.traces:
        run_id = request.headers.get(RUN)
        if run_id:
            await ctx.request_ids().check("run", [run_id])
        try:
            write = LogSpans(parse_id(experiment), batch.traces, run_id or None)
            with ARRIVING.committing(batch.traces):
                await commit(ctx, write, 500 * batch.spans + batch.content_bytes)
        except (ApiError, DatabaseError):
            ctx.monitor.on_refused_spans(batch.spans)
            raise
    ctx.monitor.on_spans(batch.spans, decoded.rejected, len(batch.traces), decoded.body_bytes)
    return Response(_answer(decoded, is_json=media == JSON), content_type=media)


def _media_type(content_type: str | None) -> str:
    media = None if content_type is None else content_type.split(";")[0].strip()
    if media in (PROTOBUF, JSON):
        return media
    raise Refused(400, f"Invalid Content-Type: {content_type}. Expected: {PROTOBUF} or {JSON}")


async def _decoded(request: Request, *, is_json: bool) -> Decoded:
    body = await _body(request)
    try:
        return await _decoding.decode(body, is_json=is_json)
    except NoSpans as error:
        raise Refused(400, f"{NO_FORMAT} - no spans found") from error
    except Malformed as error:
        raise Refused(400, NO_FORMAT) from error
    except NotASpan as error:
        raise Refused(422, "Cannot convert OpenTelemetry span to MLflow span") from error
    except TooMuch as error:
        raise Refused(413, str(error)) from error


async def _body(request: Request) -> bytes:
    """The decompressed body."""
    too_long = f"The request body exceeds {MAX_OTLP_BYTES} bytes. Please send fewer spans at once."
    try:
        body = await request.body(MAX_OTLP_BYTES)
    except TooLong as error:
        raise Refused(413, too_long) from error
    encoding = request.headers.get("content-encoding", "").lower()
    if not encoding:
        return body
    if encoding not in ENCODINGS:
        raise Refused(400, f"Unsupported Content-Encoding: {encoding}")
    pieces: list[bytes] = []
    try:
        for piece in inflated(body, encoding, MAX_OTLP_BYTES):
            request.hold(len(piece))
            pieces.append(piece)
            await asyncio.sleep(0)
    except Broken as error:
        raise Refused(400, f"Failed to decompress {encoding} payload") from error
    except TooLarge as error:
        raise Refused(413, too_long) from error
    return b"".join(pieces)


def _answer(decoded: Decoded, *, is_json: bool) -> bytes:
    """An ExportTraceServiceResponse; empty, unless spans were rejected."""
    if not decoded.rejected:
        return b"{}" if is_json else b""
    message = f"{decoded.rejected} spans exceed a limit of the server: {decoded.reason}"
    if is_json:
        partial: dict[str, Any] = {
            "rejectedSpans": str(decoded.rejected),
            "errorMessage": message,
        }
        return codec.encode({"partialSuccess": partial})
    text = message.encode()
    inner = b"\x08" + _varint(decoded.rejected) + b"\x12" + _varint(len(text)) + text
    return b"\x0a" + _varint(len(inner)) + inner


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
