"""The permissions that a grant may have, per resource type, with MLflow's messages. No I/O."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from headrace.contract.errors import invalid

PERMISSIONS: Final = ("READ", "USE", "EDIT", "MANAGE", "NO_PERMISSIONS", "DENY")
ON_WORKSPACES: Final = ("MANAGE", "USE")
ON_RESOURCES: Final = ("DENY", "EDIT", "MANAGE", "READ", "USE")
# Types whose grants name one resource, or `*` for all of them.
BY_ID: Final = frozenset(
    {
        "experiment",
        "registered_model",
        "prompt",
        "scorer",
        "gateway_secret",
        "gateway_endpoint",
        "gateway_model_definition",
        "mcp_server",
    }
)
# Types whose grants are for `*` only.
WHOLE: Final = frozenset(
    {
        "workspace",
        "run",
        "trace",
        "assessment",
        "logged_model",
        "review_queue",
        "registered_model_version",
        "prompt_version",
        "scorer_version",
        "mcp_server_version",
    }
)
TYPES: Final = tuple(sorted(BY_ID | WHOLE))
RESERVED: Final = "__user_"  # the beginning of the names of synthetic roles


def canonical(experiment_id: str) -> str:
    """The id as grants name it, if it is a number. Requests may write 1 as `01`, ` 1` or `+1`."""
    try:
        return str(int(experiment_id))
    except ValueError:
        return experiment_id


def scorer_id(experiment_id: str, name: str) -> str:
    """The scorer with this name as grants name it."""
    return f"{canonical(experiment_id)}/{quote(name, safe='')}"


def canonical_id(resource_type: str, id_: str) -> str:
    """The id or name of a resource as grants name it."""
    if resource_type == "experiment":
        return canonical(id_)
    if resource_type == "scorer":
        experiment_id, slash, name = id_.partition("/")
        return f"{canonical(experiment_id)}{slash}{name}"
    return id_


def check_permission(permission: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a text that is no permission."""
    if permission not in PERMISSIONS:
        raise invalid(
            f"Invalid permission '{permission}'. Valid permissions are: {PERMISSIONS}",
        )


def check_type(resource_type: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a text that is no resource type."""
    if resource_type not in TYPES:
        raise invalid(
            f"Invalid resource type '{resource_type}'. Valid resource types are: {TYPES}",
        )


def check_grant(permission: str, resource_type: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a permission that cannot be granted on a type."""
    check_permission(permission)
    check_type(resource_type)
    is_workspace = resource_type == "workspace"
    grantable = ON_WORKSPACES if is_workspace else ON_RESOURCES
    if permission not in grantable:
        scope = "Workspace-wide" if is_workspace else "Resource-level"
        raise invalid(
            f"Invalid permission '{permission}' for resource_type='{resource_type}'. "
            f"{scope} grants accept only: {grantable}.",
        )


def check_pattern(resource_pattern: str, resource_type: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a pattern other than `*` if the type has no other ones."""
    check_type(resource_type)
    if resource_pattern != "*" and resource_type in WHOLE:
        raise invalid(
            f"Invalid resource_pattern '{resource_pattern}' for resource_type='{resource_type}'. "
            "This resource type supports only wildcard ('*') grants.",
        )


def check_role_name(name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a name that is reserved for the users' own grants."""
    if name.startswith(RESERVED):
        raise invalid(
            f"Role name {name!r} uses the reserved '{RESERVED}' prefix, which is held for the "
            "per-user permission representation. Choose a different name.",
        )
