"""SQL for the table of workspaces. See deletion_sql.py for the rows of a deleted one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.db.sql import Sql

if TYPE_CHECKING:
    from headrace.db.base import Tx


class WorkspaceRow(NamedTuple):
    """A row of `workspaces`."""

    name: str
    description: str | None
    default_artifact_root: str | None
    trace_archival_location: str | None
    trace_archival_retention: str | None


_COLUMNS: Final = ", ".join(WorkspaceRow._fields)
NEXT = Sql(
    f"SELECT {_COLUMNS} FROM workspaces WHERE name {{bytewise}} > $1 ORDER BY name {{bytewise}} LIMIT $2"
)
BY_NAME = Sql(f"SELECT {_COLUMNS} FROM workspaces WHERE name = $1")
LOCKED = Sql(f"SELECT {_COLUMNS} FROM workspaces WHERE name = $1 {{for update}}")
# Until the transaction ends, no other one writes rows of the workspace: see `db.workspace`.
LOCKED_TO_DELETE = Sql("SELECT 1 FROM workspaces WHERE name = $1 {for delete}")
INSERT = Sql(f"INSERT INTO workspaces ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5)")
UPDATE = Sql(
    "UPDATE workspaces SET description = $2, default_artifact_root = $3,"
    " trace_archival_location = $4, trace_archival_retention = $5 WHERE name = $1"
)
DELETE = Sql("DELETE FROM workspaces WHERE name = $1")


async def following(tx: Tx, after: str, limit: int) -> list[WorkspaceRow]:
    """The next workspaces by name; `after` is the name of the last one, or ""."""
    return [WorkspaceRow(*row) for row in await tx.fetch(NEXT, after, limit)]


async def by_name(tx: Tx, name: str, statement: Sql = BY_NAME) -> WorkspaceRow | None:
    """The workspace that the statement (BY_NAME, LOCKED) finds."""
    row = await tx.fetchrow(statement, name)
    return None if row is None else WorkspaceRow(*row)
