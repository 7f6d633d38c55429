"""The directory of a workspace in the artifact store, compared with MLflow's rule."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest
from mlflow.exceptions import MlflowException
from mlflow.utils.workspace_context import ServerWorkspaceContext

from headrace.contract.errors import ApiError
from headrace.settings.table import Settings
from headrace.storage.locations import Locations
from headrace.storage.paths import in_workspace

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mlflow.server.handlers import _get_workspace_scoped_repo_path_if_enabled

if TYPE_CHECKING:
    from pathlib import Path

PATHS = (
    "", "a", "/a", "a/", "1/r/artifacts/x", "//a", "workspaces/team-a", "workspaces/team-a/", "/workspaces/team-a/x",
    "workspaces/team-b/x", "workspaces/default/1", "workspaces//x", "workspaces/", "workspacesx/team-b",
    "a/workspaces/team-b", "workspaces/team-a/../team-a", "workspaces/./team-a",
)  # fmt: skip
# MLflow lets `default` read, replace and delete the files of every workspace with these.
REFUSED_TO_DEFAULT = (
    "workspaces",
    "./workspaces",
    "./workspaces/team-a/x",
    "././workspaces//team-a",
)


def ours(path: str, workspace: str) -> str:
    """The path, or the message of the error."""
    try:
        return in_workspace(path, workspace)
    except ApiError as error:
        return error.message


@pytest.mark.parametrize("workspace", ["default", "team-a"])
@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_that_of_mlflow(
    monkeypatch: pytest.MonkeyPatch, path: str, workspace: str
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    with ServerWorkspaceContext(workspace):
        try:
            theirs = _get_workspace_scoped_repo_path_if_enabled(path)
        except MlflowException as error:
            theirs = error.message
    assert ours(path, workspace) == theirs


@pytest.mark.parametrize("path", REFUSED_TO_DEFAULT)
def test_the_files_of_other_workspaces_are_not_those_of_default(path: str) -> None:
    with pytest.raises(ApiError, match="workspace"):
        in_workspace(path, "default")
    assert ours(path, "team-b").startswith(("workspaces/team-b/", "Artifact path"))


def test_a_location_in_the_servers_store_is_one_of_the_workspace(tmp_path: Path) -> None:
    locations = Locations(
        Settings(artifacts_destination=str(tmp_path), default_artifact_root="mlflow-artifacts:/")
    )
    inside = locations.within("team-a")
    assert inside.destination is locations.destination
    found = inside.resolve("mlflow-artifacts:/workspaces/team-a/1/r/artifacts", "a")
    assert found.path == "workspaces/team-a/1/r/artifacts/a"
    assert found.relative("b") == "a/b"
    assert inside.resolve("mlflow-artifacts:/1/r", None).path == "workspaces/team-a/1/r"
    assert locations.within("default").resolve("mlflow-artifacts:/1/r", None).path == "1/r"
    with pytest.raises(ApiError, match="targets workspace 'team-b'"):
        inside.resolve("mlflow-artifacts:/workspaces/team-b/1", None)
    locations.close()
