"""Which part of the server's store a location names, however it is spelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.auth.authority import Denied
from headrace.auth.locations import check_apart, own_paths
from headrace.auth.resolve import of_path
from headrace.contract.errors import ApiError
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from pathlib import Path

BUCKET = Settings(artifacts_destination="s3://bkt/mlflow")
AZURE = Settings(artifacts_destination="abfss://box@acct.dfs.core.windows.net/mlflow")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bkt/mlflow/1/RA/artifacts", {"1/RA/artifacts"}),
        ("S3://BKT//mlflow/./1/", {"1"}),
        ("s3://bkt/x/../mlflow/1?a=b", {"1"}),
        ("s3://bkt/ml%2566low/1", {"1"}),
        ("s3://bkt/mlflow", {""}),
        ("s3://bkt", {""}),
        ("s3://bkt/mlflow2/1", set()),
        ("s3://other/mlflow/1", set()),
        ("mlflow-artifacts:/1/RA", {"1/RA"}),
        ("mlflow-artifacts:1/RA", {"1/RA"}),
        ("mlflow-artifacts://host//1/./RA", {"1/RA"}),
        ("mlflow-artifacts:", {""}),
        ("http://host/api/2.0/mlflow-artifacts/artifacts/1/RA", {"1/RA"}),
        ("http://host/files/1", set()),
        ("runs:/RA/x", set()),
        ("models:/m-1", set()),
    ],
)
def test_the_paths_of_a_source(uri: str, expected: set[str]) -> None:
    assert own_paths(uri, "read", BUCKET) == expected


@pytest.mark.parametrize("uri", ["s3://./bkt/mlflow/1", "s3://x@bkt/mlflow/1", "gs:///a"])
def test_a_bucket_that_a_client_library_reads_otherwise_is_refused(uri: str) -> None:
    with pytest.raises(Denied):
        own_paths(uri, "read", BUCKET)


def test_both_protocols_of_azure_name_the_same_files() -> None:
    found = own_paths("wasbs://box@acct.blob.core.windows.net/mlflow/1/RA", "read", AZURE)
    assert found == {"1/RA"}


def test_local_paths_are_those_behind_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "store"
    store.mkdir()
    (tmp_path / "link").symlink_to(store)
    settings = Settings(artifacts_destination=str(store))
    for uri in (
        f"{store}/1/RA",
        f"file:{store}/1/RA",
        f"FILE://host{store}/1/RA",
        f"{tmp_path}/x/../store//1/RA",
        f"file://{tmp_path}/st%6Fre/1/RA",
        "store/1/RA",
        "link/1/RA",
        "mlruns/1/RA",
    ):
        assert own_paths(uri, "update", settings) == {"1/RA"}, uri
    assert own_paths(str(tmp_path), "update", settings) == set()
    assert own_paths(str(tmp_path), "read", settings) == {""}


@pytest.mark.parametrize("uri", ["runs:/RA/x", "models:/m-1"])
def test_an_experiment_is_not_stored_in_a_run_or_model(uri: str) -> None:
    with pytest.raises(Denied):
        own_paths(uri, "update", BUCKET)


def test_a_tree_needs_every_part_of_an_experiment() -> None:
    steps = [step for found in of_path("1", "read", tree=True) for step in found]
    assert {step.resource_type for step in steps} == {"experiment", "run", "logged_model", "trace"}


@pytest.mark.parametrize("path", [".", "", "workspaces", "workspaces/w"])
def test_no_user_has_the_tree_of_all_experiments(path: str) -> None:
    with pytest.raises(Denied):
        list(of_path(path, "read", tree=True))


ROOTS = {"team-a": "s3://a/root", "team-c": "s3://bkt/mlflow/of-c"}


@pytest.mark.parametrize(
    ("workspace", "uri"),
    [
        ("team-b", "s3://bkt/mlflow/workspaces/team-b/1/RA/artifacts"),
        ("team-b", "s3://bkt/mlflow/workspaces/team-a/../team-b/1"),
        ("team-b", "s3://elsewhere/files"),
        ("team-b", "runs:/RA/x"),
        ("team-b", "models:/m/1"),
        ("team-a", "s3://a/root/1/RA"),
        ("team-c", "s3://bkt/mlflow/of-c/1"),
        ("default", "s3://bkt/mlflow/1/RA/artifacts"),
        ("default", "s3://bkt/mlflow/workspaces/default/1"),
    ],
)
def test_locations_of_a_workspace(workspace: str, uri: str) -> None:
    check_apart(uri, workspace, BUCKET, ROOTS)


@pytest.mark.parametrize(
    ("workspace", "uri"),
    [
        ("team-b", "s3://bkt/mlflow/workspaces/team-a/1/RA/artifacts"),
        ("team-b", "S3://BKT/mlflow/./workspaces//team-a/1"),
        ("team-b", "s3://bkt/mlflow/workspaces/team-b/../team-a/1"),
        ("team-b", "s3://bkt/mlflow/workspaces/team%2Da/1"),
        ("team-b", "s3://bkt/mlflow/workspaces"),
        ("team-b", "s3://bkt/mlflow"),
        ("team-b", "s3://bkt"),
        ("team-b", "s3://bkt/mlflow/1/RA/artifacts"),
        ("team-b", "s3://a/root/1"),
        ("team-b", "s3://a"),
        ("team-b", "s3://bkt/mlflow/of-c/1"),
        ("team-b", "s3://x@bkt/mlflow/1"),
        ("default", "s3://bkt/mlflow"),
        ("default", "s3://bkt/mlflow/workspaces/team-a/1"),
        ("default", "s3://bkt/mlflow/workspaces"),
    ],
)
def test_locations_of_other_workspaces_are_refused(workspace: str, uri: str) -> None:
    with pytest.raises(ApiError, match="is not in the part"):
        check_apart(uri, workspace, BUCKET, ROOTS)
