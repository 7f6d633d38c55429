"""The checks of a workspace's settings, with MLflow's messages. No I/O."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from headrace.contract.artifact_uri import check_location
from headrace.contract.errors import invalid
from headrace.contract.limits import MAX_TRACE_RETENTION
from headrace.contract.workspaces import DEFAULT, check_workspace_name
from headrace.settings.defaults import scheme_of

if TYPE_CHECKING:
    from headrace.api.server.workspaces.types import CreateWorkspace, UpdateWorkspace

_ROOT: Final = "default_artifact_root"
_LOCATION: Final = "trace_archival_config.location"
_RETENTION: Final = "trace_archival_config.retention"
_DURATION: Final = re.compile(r"[1-9][0-9]*[mhd]")


class NewSettings(NamedTuple):
    """The settings of a request, checked. None: not given; "": without a value."""

    description: str | None
    root: str | None
    location: str | None
    retention: str | None


def check_known(name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE unless a workspace can have the name."""
    if name != DEFAULT:
        check_workspace_name(name)


def check_new(name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE unless a new workspace can have the name."""
    if name == DEFAULT:
        raise invalid(f"The '{DEFAULT}' workspace is reserved and cannot be created")
    check_workspace_name(name)


def check_deletable(name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE unless a workspace with the name may be deleted."""
    if name == DEFAULT:
        raise invalid(f"The '{DEFAULT}' workspace is reserved and cannot be deleted")
    check_workspace_name(name)


def settings_of(req: CreateWorkspace | UpdateWorkspace, *server_roots: str) -> NewSettings:
    """The settings that a request gives. Raises INVALID_PARAMETER_VALUE.

    `server_roots`: the server's own artifact root and destination, whose hosts are trusted.
    """
    config = req.trace_archival_config
    root = _uri(req.default_artifact_root, _ROOT, server_roots)
    if root and not scheme_of(root) and not PurePath(root).is_absolute():
        raise invalid(
            f"Invalid value for '{_ROOT}'. Expected a URI (for example 's3://bucket/prefix' or "
            f"'mlflow-artifacts:/prefix') or an absolute path, got '{root}'."
        )
    return NewSettings(
        req.description,
        root,
        _archive(config.location if config else None, server_roots),
        _retention(config.retention if config else None),
    )


def _uri(text: str | None, field: str, server_roots: tuple[str, ...]) -> str | None:
    uri = text.strip() if text is not None else None
    if uri:
        if uri.startswith("runs:"):
            raise invalid(f"Artifact location cannot be a runs:/ URI. Given: '{uri}'")
        check_location(uri, field, *server_roots)
    return uri


def _archive(text: str | None, server_roots: tuple[str, ...]) -> str | None:
    location = _uri(text, _LOCATION, server_roots)
    if location:
        scheme = urlsplit(location).scheme
        if not scheme:
            raise invalid(f"Invalid value for '{_LOCATION}'. Expected a URI string.")
        if scheme == "mlflow-artifacts":
            raise invalid(
                f"Invalid value for '{_LOCATION}'. Trace archival location cannot use the proxy-only "
                "`mlflow-artifacts:` scheme."
            )
    return location


def _retention(text: str | None) -> str | None:
    retention = text.strip() if text is not None else None
    if retention:
        if len(retention) > MAX_TRACE_RETENTION:
            raise invalid(
                f"Invalid value for '{_RETENTION}'. Maximum length is {MAX_TRACE_RETENTION} characters."
            )
        if _DURATION.fullmatch(retention) is None:
            raise invalid(
                f"Invalid value for '{_RETENTION}'. Expected a duration in the form `<int><unit>`, "
                "where unit is one of 'm', 'h', or 'd' (for example '30d' or '12h')."
            )
    return retention
