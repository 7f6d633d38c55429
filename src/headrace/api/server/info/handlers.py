"""server-info and ui-telemetry: feature switches for the web page."""

from __future__ import annotations

from typing import Final

import msgspec

from headrace.api.context import Context
from headrace.api.results import Encoded
from headrace.contract.scalars import PathOnly

TELEMETRY_OFF: Final = Encoded(
    b'{"disable_ui_events":[],"disable_ui_telemetry":true,"ui_rollout_percentage":0}\n'
)
TELEMETRY_DROPPED: Final = Encoded(b'{"status":"disabled"}\n')


class Features(msgspec.Struct, frozen=True):
    """Features whose name is not a field of `ServerInfo`."""

    gateway: bool = True


class ServerInfo(msgspec.Struct, kw_only=True):
    """The features of this server that the web page may use."""

    store_type: str = "SqlStore"
    workspaces_enabled: bool = False
    trace_archival_enabled: bool = False
    multipart_uploads_enabled: bool
    multipart_downloads_enabled: bool
    presigned_upload_run_id_supported: bool = True
    presigned_upload_model_id_supported: bool = True
    features_enabled: Features = Features()


async def server_info(req: PathOnly, ctx: Context) -> ServerInfo:
    """GET /3.0/mlflow/server-info: the features that the web page may use."""
    uploads, downloads = ctx.artifacts.capabilities
    return ServerInfo(
        workspaces_enabled=ctx.settings.enable_workspaces,
        multipart_uploads_enabled=uploads,
        multipart_downloads_enabled=downloads,
        features_enabled=Features(gateway=ctx.settings.enable_ai_gateway),
    )


async def ui_telemetry(req: PathOnly, ctx: Context) -> Encoded:
    """GET /3.0/mlflow/ui-telemetry: turn the web page's telemetry off."""
    return TELEMETRY_OFF


async def drop_ui_telemetry(req: PathOnly, ctx: Context) -> Encoded:
    """POST /3.0/mlflow/ui-telemetry: drop a report of the web page."""
    return TELEMETRY_DROPPED
