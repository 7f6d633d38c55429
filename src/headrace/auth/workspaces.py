"""The roles of workspaces: those that a new one gets, and those that make users see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.auth import sql
from headrace.auth.decide import WILDCARD, WORKSPACE

if TYPE_CHECKING:
    from headrace.db.base import Tx

MAX_ACCESSIBLE: Final = 10_000  # workspaces of one user that are read


class Seed(NamedTuple):
    """A role that every new workspace gets, with its level on the workspace."""

    name: str
    level: str
    description: str


SEEDS: Final = (
    Seed("admin", "MANAGE", "Full MANAGE authority over the workspace."),
    Seed(
        "user",
        "USE",
        "Read every resource in the workspace and create new experiments and registered models; "
        "the creator-as-owner mechanism grants MANAGE on what you create, with no write or delete "
        "access to resources owned by other users.",
    ),
)


async def seed(tx: Tx, workspace: str) -> None:
    """Add MLflow's roles `admin` and `user` to a new workspace. A role with the name stays as it is."""
    for name, level, description in SEEDS:
        row = await tx.fetchrow(sql.NEW_ROLE, name, workspace, description)
        if row is not None:
            await tx.fetchrow(sql.NEW_PERMISSION, row[0], WORKSPACE, WILDCARD, level)
            tx.wrote(2)


async def forget(tx: Tx, workspace: str) -> None:
    """Delete all roles of a workspace, with their permissions and assignments.

    Users' own grants in it are among them, so a new workspace with the name begins without any.
    """
    rows = await tx.fetch(sql.LOCK_ROLES_IN, workspace)
    if rows:
        ids = tx.array([row[0] for row in rows])
        for statement in sql.EMPTY_ROLES:
            await tx.execute(statement, ids)


async def accessible(tx: Tx, user_id: int) -> frozenset[str]:
    """Return the names of the workspaces that a user sees; MAX_ACCESSIBLE at most.

    A user sees those in which an admin has given him a role, or a grant on the workspace.
    """
    rows = await tx.fetch(sql.ACCESSIBLE, user_id, MAX_ACCESSIBLE)
    return frozenset(row[0] for row in rows)
