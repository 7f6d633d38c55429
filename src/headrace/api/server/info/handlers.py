"""server-info and ui-telemetry: feature switches for the web page."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from headrace.api.context import Context
from headrace.api.results import Encoded
from headrace.contract.scalars import PathOnly

TELEMETRY_OFF: Final = Encoded(
    b'{"disable_ui_events":[],"disable_ui_telemetry":true,"ui_rollout_percentage":0}\n'
)
TELEMETRY_DROPPED: Final = Encoded(b'{"status":"disabled"}\n')


class Features(msgspec.Struct):
    """Features whose name is not a field of `ServerInfo`."""

    gateway: bool = True
    scheduled_issue_detection: bool | UnsetType = UNSET


class ServerInfo(msgspec.Struct, kw_only=True):
    """The features of this server that the web page may use; those that may be unset are of MLflow 3.18."""

    store_type: str = "SqlStore"
    workspaces_enabled: bool = False
    trace_archival_enabled: bool = False
    multipart_uploads_enabled: bool
    multipart_downloads_enabled: bool
    artifact_serving_enabled: bool | UnsetType = UNSET
    presigned_upload_run_id_supported: bool = True
    presigned_upload_model_id_supported: bool = True
    model_artifact_presigned_downloads_supported: bool | UnsetType = UNSET
    features_enabled: Features
    tracking_auth: str | UnsetType = UNSET
    artifacts_presigned_only: bool | UnsetType = UNSET


async def server_info(req: PathOnly, ctx: Context) -> ServerInfo:
    """GET /3.0/mlflow/server-info: the features that clients and the web page may use.

    As in MLflow 3.18, transfers in parts, which bypass this server, are named only if a setting asks
    for them. The fields that 3.18 added are there at its schema, or if one of them says something. The
    limits of skills are left out: MLflow, which stores skills, checks them.
    """
    settings = ctx.settings
    uploads, downloads = ctx.artifacts.capabilities
    info = ServerInfo(
        workspaces_enabled=settings.enable_workspaces,
        multipart_uploads_enabled=uploads and settings.proxy_multipart_upload,
        multipart_downloads_enabled=downloads and settings.proxy_multipart_download,
        features_enabled=Features(gateway=settings.enable_ai_gateway),
    )
    told = settings.artifacts_presigned_only or settings.server_info_tracking_auth
    if told or (not settings.artifacts_only and ctx.db.schema.has("skills", "name")):
        info.artifact_serving_enabled = settings.serve_artifacts
        info.model_artifact_presigned_downloads_supported = True
        info.features_enabled.scheduled_issue_detection = False
        info.tracking_auth = settings.server_info_tracking_auth or ""
        info.artifacts_presigned_only = settings.artifacts_presigned_only
    return info


async def ui_telemetry(req: PathOnly, ctx: Context) -> Encoded:
    """GET /3.0/mlflow/ui-telemetry: turn the web page's telemetry off."""
    return TELEMETRY_OFF


async def drop_ui_telemetry(req: PathOnly, ctx: Context) -> Encoded:
    """POST /3.0/mlflow/ui-telemetry: drop a report of the web page."""
    return TELEMETRY_DROPPED
