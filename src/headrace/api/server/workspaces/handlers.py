"""Handlers of workspaces. A server without workspaces does not call them: see `api.enabled`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.api.context import Context
from headrace.api.pieces import FEW_ITEMS, all_in_pieces
from headrace.api.results import Chunks, Created, NoContent
from headrace.api.server.workspaces import roles, rules, sql, transactions
from headrace.api.server.workspaces.sql import WorkspaceRow
from headrace.api.server.workspaces.transactions import Mode
from headrace.api.server.workspaces.types import (
    AllWorkspaces,
    CreateWorkspace,
    DeleteWorkspace,
    TraceArchivalConfig,
    UpdateWorkspace,
    Workspace,
    WorkspaceAnswer,
    WorkspaceName,
)
from headrace.auth.authority import Denied
from headrace.contract.errors import invalid
from headrace.contract.workspaces import workspace_not_found
from headrace.db.base import Tx


def _shown(row: WorkspaceRow) -> Workspace:
    config = None
    if (row.trace_archival_location, row.trace_archival_retention) != (None, None):
        config = TraceArchivalConfig(
            location=row.trace_archival_location, retention=row.trace_archival_retention
        )
    return Workspace(
        name=row.name,
        description=row.description,
        default_artifact_root=row.default_artifact_root,
        trace_archival_config=config,
    )


async def list_workspaces(req: AllWorkspaces, ctx: Context) -> Chunks:
    """GET /3.0/mlflow/workspaces: the workspaces by name, for a user those with a role of the user."""
    seen = await roles.visible(ctx)

    async def following(tx: Tx, after: WorkspaceRow | None) -> list[WorkspaceRow]:
        return await sql.following(tx, after.name if after else "", FEW_ITEMS)

    async def items(rows: Sequence[WorkspaceRow]) -> list[Workspace]:
        return [_shown(row) for row in rows if seen is None or row.name in seen]

    return Chunks(all_in_pieces(ctx.db, b"workspaces", following, _weigh, items))


async def _weigh(tx: Tx, rows: Sequence[WorkspaceRow]) -> Mapping[WorkspaceRow, int]:
    return {row: sum(len(value or "") for value in row) for row in rows}


async def create(req: CreateWorkspace, ctx: Context) -> Created[WorkspaceAnswer]:
    """POST /3.0/mlflow/workspaces: 201.

    Errors: INVALID_PARAMETER_VALUE (name, locations), RESOURCE_ALREADY_EXISTS.
    """
    rules.check_new(req.name)
    new = rules.settings_of(req, *_roots(ctx))
    row = WorkspaceRow(
        req.name, new.description, new.root or None, new.location or None, new.retention or None
    )
    follower = roles.seeds(ctx)
    await ctx.db.write(transactions.create, row, follower)
    await follower.after(row.name)
    return Created(WorkspaceAnswer(workspace=_shown(row)))


def _roots(ctx: Context) -> tuple[str, str]:
    return ctx.settings.default_artifact_root, ctx.settings.artifacts_destination


async def get(req: WorkspaceName, ctx: Context) -> WorkspaceAnswer:
    """GET /3.0/mlflow/workspaces/{workspace_name}

    Users see the workspaces in which they have a role; stock refuses everyone but admins. Errors:
    RESOURCE_DOES_NOT_EXIST.
    """
    seen = await roles.visible(ctx)
    if seen is not None and req.workspace_name not in seen:
        raise Denied
    rules.check_known(req.workspace_name)
    row = await ctx.db.read_point(sql.by_name, req.workspace_name)
    if row is None:
        raise workspace_not_found(req.workspace_name)
    return WorkspaceAnswer(workspace=_shown(row))


async def update(req: UpdateWorkspace, ctx: Context) -> WorkspaceAnswer:
    """PATCH /3.0/mlflow/workspaces/{workspace_name}

    Errors: RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (nothing to change, locations).
    """
    name = req.workspace_name or ""
    rules.check_known(name)
    config = req.trace_archival_config or TraceArchivalConfig()
    if (req.description, req.default_artifact_root, *_values(config)) == (None,) * 4:
        raise invalid("Workspace update must have at least one key")
    new = rules.settings_of(req, *_roots(ctx))
    row = await ctx.db.write(transactions.update, name, new)
    return WorkspaceAnswer(workspace=_shown(row))


def _values(config: TraceArchivalConfig) -> tuple[str | None, str | None]:
    return config.location, config.retention


async def delete(req: DeleteWorkspace, ctx: Context) -> NoContent:
    """DELETE /3.0/mlflow/workspaces/{workspace_name}?mode=RESTRICT|SET_DEFAULT|CASCADE: 204.

    All or nothing: one transaction. Errors: RESOURCE_DOES_NOT_EXIST, INVALID_STATE (the workspace is
    not empty, or names are taken in the default workspace), INVALID_PARAMETER_VALUE (mode).
    """
    name = req.workspace_name or ""
    rules.check_deletable(name)
    text = Mode.RESTRICT.value if req.mode is None else req.mode
    try:
        mode = Mode(text)
    except ValueError:
        modes = ", ".join(mode.value for mode in Mode)
        raise invalid(f"Invalid deletion mode '{text}'. Must be one of: {modes}") from None
    follower = roles.forgets(ctx)
    await ctx.db.write(transactions.delete, name, mode, follower)
    await follower.after(name)
    return NoContent()
