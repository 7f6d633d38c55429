"""Requests and answers of the routes of workspaces (MLflow's service.proto)."""

from __future__ import annotations

from headrace.contract.scalars import Message, OptionalStr, PathOnly, RequiredStr


class AllWorkspaces(PathOnly):
    """GET workspaces"""


class WorkspaceName(PathOnly):
    """GET workspaces/{workspace_name}"""

    workspace_name: str


class TraceArchivalConfig(Message):
    """Where old traces go, and after how long (`30d`, `12h`)."""

    location: OptionalStr = None
    retention: OptionalStr = None


class Workspace(Message):
    """A workspace, without the settings that it does not have."""

    name: str
    description: str | None = None
    default_artifact_root: str | None = None
    trace_archival_config: TraceArchivalConfig | None = None


class WorkspaceList(Message):
    """All workspaces that the caller may see, by name."""

    workspaces: list[Workspace] = []


class WorkspaceAnswer(Message):
    """An answer with one workspace."""

    workspace: Workspace


class CreateWorkspace(Message):
    """POST workspaces"""

    name: RequiredStr
    description: OptionalStr = None
    default_artifact_root: OptionalStr = None
    trace_archival_config: TraceArchivalConfig | None = None


class UpdateWorkspace(Message):
    """PATCH workspaces/{workspace_name}; null keeps a setting, and "" deletes it."""

    workspace_name: OptionalStr = None
    description: OptionalStr = None
    default_artifact_root: OptionalStr = None
    trace_archival_config: TraceArchivalConfig | None = None


class DeleteWorkspace(Message):
    """DELETE workspaces/{workspace_name}?mode=…"""

    workspace_name: OptionalStr = None
    mode: OptionalStr = None
