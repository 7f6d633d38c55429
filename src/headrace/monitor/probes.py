"""/health, /version, /livez, /readyz and /metrics: for load balancers, orchestrators and Prometheus."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from headrace.http.messages import Request, Response, text

if TYPE_CHECKING:
    from headrace.api.context import Context

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
    from headrace.monitor import exposition  # loads prometheus_client: for start-up time

    ctx.monitor.publish()
    is_up = await ctx.readiness.is_ready()
    accept = request.headers.get("accept", "")
    body, content_type = await asyncio.to_thread(
        exposition.exposed, ctx, ctx.monitor, is_up, accept
    )
    return Response(body, content_type=content_type)


async def version(request: Request, ctx: Context) -> Response:
    """GET /version: the MLflow release that clients should take this server for."""
    return Response(MLFLOW_VERSION.encode(), content_type="text/html; charset=utf-8")
