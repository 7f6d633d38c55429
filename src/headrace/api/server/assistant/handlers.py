"""Handlers of requests that the web page sends on every load.

They start stock MLflow only if the assistant or the gateway may be in use.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from headrace.api.context import Context
from headrace.api.results import Encoded, NotNative
from headrace.api.server.assistant import sql
from headrace.contract.scalars import PathOnly
from headrace.db.base import Tx

# Programs on this machine that MLflow's assistant can use without any configuration.
PROGRAMS: Final = ("claude", "codex", "ollama")
CONFIG: Final = Path(".mlflow", "assistant", "config.json")  # relative to the home directory


async def get_config(req: PathOnly, ctx: Context) -> Encoded:
    """GET /ajax-api/3.0/mlflow/assistant/config: an empty configuration, or stock's answer."""
    if await _may_be_used(ctx):
        raise NotNative
    return Encoded(b'{"providers":{},"projects":{},"remote_access_allowed":false}')


async def get_providers(req: PathOnly, ctx: Context) -> Encoded:
    """GET /ajax-api/3.0/mlflow/assistant/providers: an empty list, or stock's answer.

    We differ: stock also lists Ollama if it is not installed, but asking for the list would start
    stock.
    """
    if await _may_be_used(ctx):
        raise NotNative
    return Encoded(b'{"providers":[],"resolved":null,"gateway_vendor_options":{}}')


async def gateway_proxy(req: PathOnly, ctx: Context) -> Encoded:
    """GET, POST /ajax-api/2.0/mlflow/gateway-proxy: no endpoints, or the gateway's answer."""
    if os.environ.get("MLFLOW_DEPLOYMENTS_TARGET"):
        raise NotNative
    return Encoded(b'{"endpoints":[]}\n')


async def _may_be_used(ctx: Context) -> bool:
    if os.environ.get("MLFLOW_ENABLE_REMOTE_ASSISTANT") or (Path.home() / CONFIG).exists():
        return True
    if any(shutil.which(program) for program in PROGRAMS):
        return True
    return ctx.db.schema.has("endpoints") and await ctx.db.read(_has_gateway_endpoint)


async def _has_gateway_endpoint(tx: Tx) -> bool:
    return await tx.fetchrow(sql.ANY_GATEWAY_ENDPOINT) is not None
