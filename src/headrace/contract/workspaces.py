"""Names of workspaces, and MLflow's messages about them."""

from __future__ import annotations

import re
from typing import Final

from headrace.contract.artifact_uri import append_path
from headrace.contract.errors import ApiError, ErrorCode, invalid, not_found

DEFAULT: Final = "default"  # the workspace of all rows on a server without workspaces
MIN_NAME: Final = 2
MAX_NAME: Final = 63
_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_NAME: Final = re.compile(_PATTERN)
DIRECTORY: Final = "workspaces"  # below the server's artifact root: one directory per workspace
RESERVED: Final = frozenset({"workspaces", "api", "ajax-api", "static-files"})


def is_workspace_name(name: str) -> bool:
    """Whether a workspace may have the name. Such a name needs no quoting in SQL."""
    has_length = MIN_NAME <= len(name) <= MAX_NAME
    return has_length and _NAME.fullmatch(name) is not None and name not in RESERVED


def check_workspace_name(name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE unless a workspace may have the name."""
    if not MIN_NAME <= len(name) <= MAX_NAME:
        raise invalid(
            f"Workspace name '{name}' must be between {MIN_NAME} and {MAX_NAME} characters."
        )
    if _NAME.fullmatch(name) is None:
        raise invalid(
            f"Workspace name '{name}' must match the pattern {_PATTERN} (lowercase alphanumeric with "
            "optional internal hyphens)."
        )
    if name in RESERVED:
        raise invalid(f"Workspace name '{name}' is reserved and cannot be used.")


def location_in(root: str, workspace: str, number: int) -> str:
    """The artifact location of a new experiment below the server's root."""
    return append_path(root, DIRECTORY, workspace, str(number))


def workspace_not_found(name: str) -> ApiError:
    """The error for a workspace that does not exist."""
    return not_found(f"Workspace '{name}' not found")


def not_enabled() -> ApiError:
    """The error for a request that names a workspace, on a server without them."""
    return ApiError(
        ErrorCode.FEATURE_DISABLED,
        "Workspace APIs are not available: workspaces are not enabled on this server",
    )
