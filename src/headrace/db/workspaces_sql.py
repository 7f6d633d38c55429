"""SQL for the table of workspaces, as far as every request of a server with workspaces needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.contract.artifact_uri import append_path
from headrace.contract.workspaces import location_in, workspace_not_found
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Tx

_EXISTING: Final = Sql("SELECT name FROM workspaces WHERE name {in $1 text}")


_ROOT: Final = Sql(
    "SELECT default_artifact_root FROM workspaces WHERE name = {workspace} {for share}"
)
_ROOTS: Final = Sql(
    "SELECT name, default_artifact_root FROM workspaces WHERE default_artifact_root <> ''"
)


class Root(NamedTuple):
    """Where the artifacts of new experiments are: below the server's root, or their workspace's."""

    uri: str
    workspace: str | None = None  # None: the server has no workspaces

    async def location(self, tx: Tx, number: int) -> str:
        """The artifact location of a new experiment.

        The workspace is not deleted before the transaction ends. Raises RESOURCE_DOES_NOT_EXIST.
        """
        if self.workspace is None:
            return f"{self.uri.rstrip('/')}/{number}"
        row = await tx.fetchrow(_ROOT)
        if row is None:
            raise workspace_not_found(self.workspace)
        own: str | None = row[0]
        if own:
            return append_path(own, str(number))
        return location_in(self.uri, self.workspace, number)


async def existing(tx: Tx, names: Sequence[str]) -> list[str]:
    """Those of the names that a workspace has."""
    return [name for (name,) in await tx.fetch(_EXISTING, tx.array(names))]


async def roots(tx: Tx) -> dict[str, str]:
    """The artifact roots of the workspaces that have their own."""
    return {row[0]: row[1] for row in await tx.fetch(_ROOTS)}
