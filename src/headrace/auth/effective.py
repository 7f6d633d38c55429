"""The level of a user on one resource, as the routes of grants show it and require it.

These routes know the types whose grants name a resource; of the other types they know only `*`.
Prompts are an exception, as in MLflow: they can be granted by name, but only an admin can do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.auth import grantable, grants, sql
from headrace.auth.decide import (
    WILDCARD,
    Grant,
    Level,
    is_workspace_admin,
    level_at,
    levels,
)
from headrace.contract.errors import invalid

if TYPE_CHECKING:
    from headrace.auth.decide import Defaults
    from headrace.db.base import Tx

BY_ID: Final = grantable.BY_ID - {"prompt"}


def check_type(resource_type: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for `workspace`, and for a text that is no resource type."""
    grants.check_not_workspace(resource_type)
    grantable.check_type(resource_type)


def check_id(resource_type: str, id_: str) -> None:
    """Raise INVALID_PARAMETER_VALUE unless `id_` can name a resource of the type."""
    if resource_type == "scorer" and "/" not in id_:
        raise invalid("Invalid scorer resource_id. Expected '<experiment_id>/<scorer_name>'.")
    if resource_type not in BY_ID:
        raise invalid(
            f"resource_type '{resource_type}' is not supported by the per-user permission "
            "convenience APIs."
        )


async def level(
    tx: Tx, user_id: int, workspace: str, resource_type: str, id_: str, defaults: Defaults
) -> Level:
    """The level of a user on a resource of a workspace, or on all of a type (`*`)."""
    rows = await tx.fetch(sql.GRANTS_ON, user_id, workspace, resource_type, id_)
    found = [Grant(*row) for row in rows]
    if is_workspace_admin(found):
        return Level.MANAGE
    granted = level_at(levels(found), resource_type, id_)
    if granted is None:
        return defaults.absent
    return granted if granted <= Level.NO_PERMISSIONS else max(granted, defaults.floor)


def has_workspace(resource_type: str, id_: str) -> bool:
    """Whether the resource, if it exists, belongs to a workspace, whose admin may see its grants."""
    if id_ == WILDCARD:
        return True
    return resource_type in BY_ID and (resource_type != "scorer" or "/" in id_)
