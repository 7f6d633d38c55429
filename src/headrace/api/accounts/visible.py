"""The roles of others that a caller may see."""

from __future__ import annotations

from headrace.api.accounts.listing import Visible
from headrace.api.context import Context
from headrace.auth import roles
from headrace.auth.roles import Held


async def visible_to(ctx: Context) -> Visible:
    """Return the test of a role: admins see all, users their own, and workspace admins theirs."""
    access = ctx.access
    if access.is_admin:
        return lambda held: True
    assert access.user_id is not None, "a route of users"
    user_id = access.user_id
    administered = await ctx.accounts.db.read_point(roles.administered, user_id)

    def visible(held: Held) -> bool:
        return held.user_id == user_id or held.role.workspace in administered

    return visible
