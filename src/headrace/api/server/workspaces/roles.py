"""The users of a workspace: who sees it, and the roles that come and go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.auth import workspaces
from headrace.contract.errors import unavailable
from headrace.db.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.api.context import Context
    from headrace.db.base import Tx

    Change = Callable[[Tx, str], Awaitable[None]]


class Follower:
    """A change of roles that follows from a change of a workspace.

    It is made in the same transaction if the users' tables are in the tracking database, otherwise
    after the COMMIT.
    """

    def __init__(self, ctx: Context, change: Change, *, wanted: bool = True) -> None:
        """Nothing follows on a server without users, or if it is not `wanted`."""
        has_users = ctx.settings.auth is not None and wanted
        self._accounts = ctx.accounts if has_users else None
        self._change = change

    async def inside(self, tx: Tx, name: str) -> None:
        """Make the change in the transaction that changes the workspace, if it can."""
        if self._accounts is not None and self._accounts.in_tracking:
            await self._change(tx, name)

    async def after(self, name: str) -> None:
        """Make the change that could not be made inside. Raises 503: the workspace has changed."""
        if self._accounts is None or self._accounts.in_tracking:
            return
        try:
            await self._accounts.db.write(self._change, name)
        except DatabaseError as error:
            raise unavailable(
                f"The workspace '{name}' is changed, but its roles are not, because the users' database "
                "did not answer."
            ) from error


def seeds(ctx: Context) -> Follower:
    """The roles `admin` and `user` of a new workspace."""
    return Follower(ctx, workspaces.seed, wanted=ctx.settings.seed_default_roles)


def forgets(ctx: Context) -> Follower:
    """The deletion of all roles of a deleted workspace."""
    return Follower(ctx, workspaces.forget)


async def visible(ctx: Context) -> frozenset[str] | None:
    """The names of the workspaces that the caller may see; None: all."""
    if ctx.settings.auth is None or ctx.access.is_admin:
        return None
    if ctx.access.user_id is None:
        return frozenset()
    return await ctx.accounts.db.read(workspaces.accessible, ctx.access.user_id)
