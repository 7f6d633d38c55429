"""/health, /version, the probes, /metrics, server-info and ui-telemetry: what the server says of itself."""

from __future__ import annotations

import asyncio
from typing import Final

from headrace.api.context import Context
from headrace.http.codec import encode
from headrace.http.messages import Request, Response, text

MLFLOW_VERSION: Final = "3.17.2"  # the release whose API and schema this is


async def health(request: Request, ctx: Context) -> Response:
    """GET /health: the process answers; the database is not asked (as stock)."""
    return text("OK")


async def livez(request: Request, ctx: Context) -> Response:
    """GET /livez: the event loop turns. A restart would help only when this fails."""
    return text("ok\n")


async def readyz(request: Request, ctx: Context) -> Response:
    """GET /readyz

    200 when the database answers, 503 within 1.25 s when it does not; while a lost connection to it is being
    replaced, which may take the connect time-out, the last answer holds. Why not stands in the log: this answer is
    for everyone who can reach the port.
    """
    if await ctx.readiness.is_ready():
        return text("ok\n")
    response = text("the database does not answer\n", 503)
    response.headers.append(("retry-after", "1"))
    return response


async def metrics(request: Request, ctx: Context) -> Response:
    """GET /metrics

    The figures of all processes of this server, in Prometheus's text format or, for who asks for it,
    OpenMetrics. What is sampled is at most a second old.
    """
    from headrace.monitor import exposition  # prometheus_client is loaded by the first who asks

    assert ctx.monitor is not None, "a server counts"
    ctx.monitor.publish()
    is_up = await ctx.readiness.is_ready()
    return await asyncio.to_thread(
        exposition.answer, ctx, ctx.monitor, is_up, request.headers.get("accept", "")
    )


async def version(request: Request, ctx: Context) -> Response:
    """GET /version: the MLflow release that clients should take this server for."""
    return Response(MLFLOW_VERSION.encode(), content_type="text/html; charset=utf-8")


async def server_info(request: Request, ctx: Context) -> Response:
    """GET /3.0/mlflow/server-info: what the web page may switch on."""
    uploads, downloads = ctx.artifacts.capabilities
    return Response(
        encode(
            {
                "store_type": "SqlStore",
                "workspaces_enabled": False,
                "trace_archival_enabled": False,
                "multipart_uploads_enabled": uploads,
                "multipart_downloads_enabled": downloads,
                "presigned_upload_run_id_supported": True,
                "presigned_upload_model_id_supported": True,
                "features_enabled": {"gateway": True},
            }
        )
    )


async def ui_telemetry(request: Request, ctx: Context) -> Response:
    """GET /3.0/mlflow/ui-telemetry: the web page is to report nothing to anybody."""
    return Response(
        b'{"disable_ui_events":[],"disable_ui_telemetry":true,"ui_rollout_percentage":0}\n'
    )


async def drop_ui_telemetry(request: Request, ctx: Context) -> Response:
    """POST /3.0/mlflow/ui-telemetry: what a page reports all the same is dropped."""
    return Response(b'{"status":"disabled"}\n')
