"""/health, /version, /livez, /readyz and /metrics: for load balancers, orchestrators and Prometheus."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from headrace.auth.access import UNRESTRICTED
from headrace.auth.authority import Unauthenticated
from headrace.auth.bearer import has_token, scrape_token
from headrace.http.messages import Request, Response, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.api.context import Context
    from headrace.db.base import ReplicaState

MLFLOW_VERSION: Final = "3.17.2"  # the release of the served API and schema


async def health(request: Request, ctx: Context) -> Response:
    """GET /health: 200 if the process answers. As in stock MLflow, the database is not checked."""
    return text("OK")


async def livez(request: Request, ctx: Context) -> Response:
    """GET /livez: 200 if the event loop runs. A restart helps only if this fails."""
    return text("ok\n")


async def readyz(request: Request, ctx: Context) -> Response:
    """GET /readyz

    200 if the database answers, otherwise 503 within 1.25 s. While a lost connection is replaced, which may
    take as long as the connect timeout, the previous result holds. Only the log contains the reason, because
    everyone who can reach the port can read this response. A server with replicas adds how many this process
    uses, and the largest lag of these.
    """
    if await ctx.readiness.is_ready():
        return text("ok\n" + _replicas(ctx.db.replicas))
    response = text("the database does not answer\n", 503)
    response.headers.append(("retry-after", "1"))
    return response


def _replicas(replicas: Sequence[ReplicaState]) -> str:
    if not replicas:
        return ""
    lags = [replica.lag_s for replica in replicas if replica.in_use]
    behind = f", at most {max(lags):.1f} s behind the primary" if lags else ""
    return f"replicas in use: {len(lags)} of {len(replicas)}{behind}\n"


async def metrics(request: Request, ctx: Context) -> Response:
    """GET /metrics

    The metrics of all processes of this server, in Prometheus's text format or, on request, OpenMetrics.
    Sampled figures are at most one second old. Raises Unauthenticated without users, if the server has a
    token for this route and the request has not.
    """
    token = scrape_token(ctx.settings)
    if token and ctx.access is UNRESTRICTED and not has_token(request.headers, token):
        raise Unauthenticated
    from headrace.monitor import exposition  # start-up cost: prometheus_client

    ctx.monitor.publish()
    is_up = await ctx.readiness.is_ready()
    accept = request.headers.get("accept", "")
    body, content_type = await asyncio.to_thread(exposition.scrape, ctx, ctx.monitor, is_up, accept)
    return Response(body, content_type=content_type)


async def version(request: Request, ctx: Context) -> Response:
    """GET /version: the MLflow release that this server corresponds to."""
    return Response(MLFLOW_VERSION.encode(), content_type="text/html; charset=utf-8")
