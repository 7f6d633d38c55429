"""Handlers of requests that the web page sends on every load.

They start stock MLflow only if the assistant may be in use.
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
# The gateway as one of the assistants to choose from.
GATEWAY: Final = (
    b'{"name":"mlflow_gateway","display_name":"MLflow AI Gateway","description":"AI-powered assistant'
    b' backed by an MLflow AI Gateway endpoint configured on this server.","available":true,'
    b'"selected":false,"requires_api_key":false,"has_api_key":false,"allows_remote_access":true,'
    b'"client_tool_delivery":"tool","model_options":[]}'
)


async def get_config(req: PathOnly, ctx: Context) -> Encoded:
    """GET /ajax-api/3.0/mlflow/assistant/config: an empty configuration, or stock's answer."""
    if _may_be_used():
        raise NotNative
    return Encoded(b'{"providers":{},"projects":{},"remote_access_allowed":false}')


async def get_providers(req: PathOnly, ctx: Context) -> Encoded:
    """GET /ajax-api/3.0/mlflow/assistant/providers: the gateway if it has an endpoint, or stock's answer.

    We differ: stock also lists programs that are not installed, and vendors whose keys it would
    store, but asking for the list would start stock.
    """
    if _may_be_used():
        raise NotNative
    has_gateway = ctx.db.schema.has("endpoints") and await ctx.db.read_point(_has_gateway_endpoint)
    providers = GATEWAY if has_gateway else b""
    return Encoded(b'{"providers":[%b],"resolved":null,"gateway_vendor_options":{}}' % providers)


async def gateway_proxy(req: PathOnly, ctx: Context) -> Encoded:
    """GET, POST /ajax-api/2.0/mlflow/gateway-proxy: no endpoints, or the gateway's answer."""
    if os.environ.get("MLFLOW_DEPLOYMENTS_TARGET"):
        raise NotNative
    return Encoded(b'{"endpoints":[]}\n')


def _may_be_used() -> bool:
    if os.environ.get("MLFLOW_ENABLE_REMOTE_ASSISTANT") or (Path.home() / CONFIG).exists():
        return True
    return any(shutil.which(program) for program in PROGRAMS)


async def _has_gateway_endpoint(tx: Tx) -> bool:
    return await tx.fetchrow(sql.ANY_GATEWAY_ENDPOINT) is not None
