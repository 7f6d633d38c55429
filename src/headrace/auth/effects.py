"""The grants that follow from a request: those of a creator, of a deleted and of a renamed resource.

They are written in the transaction of the request if the users' tables are in the same database.
Otherwise they are written right after its COMMIT, again and again for a while if that fails. Each
of these changes may be repeated.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

from headrace.auth import grants
from headrace.auth.access import Access
from headrace.auth.authority import Unauthenticated
from headrace.auth.decide import WILDCARD
from headrace.contract.errors import invalid
from headrace.contract.workspaces import DEFAULT
from headrace.db.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.auth.rules import Resource
    from headrace.contract.errors import ApiError
    from headrace.db.base import Database, Tx

    Change = Callable[..., Awaitable[None]]

log = logging.getLogger(__name__)
# How long a change of grants in a database of its own is tried again: the client waits meanwhile.
RETRY_S: Final = 5.0
PAUSE_S: Final = 0.25
LEVEL: Final = "MANAGE"


class KeepsGrants(Access):
    """The access of a user whose requests also change grants. See `Access` for the methods."""

    __slots__ = ("_in_tracking", "_later", "_obstacle", "_reused", "_users", "user_id", "workspace")
    user_id: int
    is_workspace_admin: bool = False

    def __init__(
        self, user_id: int, users: Database, *, in_tracking: bool, workspace: str = DEFAULT
    ) -> None:
        """`in_tracking`: the users' tables are in the database of experiments and models.

        `workspace` has the resources of the requests, and the grants on them.
        """
        self.user_id = user_id
        self.workspace = workspace
        self._users = users
        self._in_tracking = in_tracking
        self._later: tuple[Change, tuple[object, ...]] | None = None
        self._reused: str | None = None  # the id of a new experiment
        self._obstacle: ApiError | None = None  # to a rename

    async def created(self, tx: Tx, resource: Resource, id_: str) -> None:
        """Raises `Unauthenticated` if the user has been deleted."""
        _check_name(id_)
        await self._change(tx, _give, self.user_id, resource, id_, self.workspace)

    async def new_experiment(self, tx: Tx, id_: str) -> None:
        """See `Access.new_experiment`."""
        if self._in_tracking:
            await grants.forget_experiment(tx, id_)
        else:
            self._reused = id_  # a repeated transaction replaces it, as in `_change`

    async def deleted(self, tx: Tx, resource: Resource, id_: str) -> None:
        """Names can be used again; a new model must not inherit the grants of the old one."""
        if id_ != WILDCARD:  # a model of a time without users; these grants are for all models
            # Names are unique in a workspace, ids in the database.
            place = self.workspace if resource == "registered_model" else None
            await self._change(tx, grants.sweep, _types(resource), id_, place)

    async def renaming(self, resource: Resource, id_: str, new_id: str) -> None:
        """The tracking database decides first whether both names exist, so this raises nothing."""
        if not self._in_tracking:
            change = self._rename(resource, id_, new_id)
            self._obstacle = await self._users.read(grants.obstacle, *change, self._may_see_roles)

    async def renamed(self, tx: Tx, resource: Resource, id_: str, new_id: str) -> None:
        """Refused if a role names either id, or a user the new one: only admins may change those."""
        _check_name(new_id)
        change = self._rename(resource, id_, new_id)
        obstacle = self._obstacle
        if self._in_tracking:
            obstacle = await grants.obstacle(tx, *change, self._may_see_roles)
        if obstacle is not None:
            raise obstacle
        if id_ not in (WILDCARD, new_id):
            await self._change(tx, grants.rename, *change)

    def _rename(
        self, resource: Resource, id_: str, new_id: str
    ) -> tuple[tuple[Resource, ...], str, str, str]:
        return _types(resource), id_, new_id, self.workspace

    @property
    def _may_see_roles(self) -> bool:
        return self.is_admin or self.is_workspace_admin

    async def _change(self, tx: Tx, change: Change, *args: object) -> None:
        if self._in_tracking:
            await change(tx, *args)
        else:
            # A request has one such change. A repeated transaction replaces that of the previous
            # attempt, whose id may be another one.
            self._later = (change, args)

    async def finish(self) -> None:
        """Raises Unavailable if the database of users did not write the change, or may not have."""
        reused, self._reused = self._reused, None
        later, self._later = self._later, None
        if reused is not None:
            await self._write(grants.forget_experiment, reused)
        if later is not None:
            await self._write(later[0], *later[1])

    async def _write(self, change: Change, *args: object) -> None:
        give_up = monotonic() + RETRY_S
        while True:
            try:
                return await self._users.write(change, *args)
            except Unavailable as error:
                if monotonic() > give_up:
                    log.error("a request succeeded, but its grants are not written: %s", error.kind)
                    raise
            await asyncio.sleep(PAUSE_S)


def _check_name(id_: str) -> None:
    if id_ == WILDCARD:
        raise invalid(
            "'*' is reserved for wildcard permission grants and cannot be used as a registered model "
            "or prompt name."
        )


async def _give(tx: Tx, user_id: int, resource: Resource, id_: str, workspace: str) -> None:
    if resource == "experiment":
        # SQLite gives the id of an experiment that was deleted permanently to the next one.
        await grants.forget_experiment(tx, id_)
    if not await grants.give(tx, user_id, resource, id_, LEVEL, workspace):
        raise Unauthenticated


def _types(resource: Resource) -> tuple[Resource, ...]:
    """The types of the grants on a name: it is the name of a model or of a prompt."""
    return ("registered_model", "prompt") if resource == "registered_model" else (resource,)
