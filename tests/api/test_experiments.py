"""Experiments, through the API of a real server on each database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fix_api import Api


def test_an_experiment_comes_back_as_it_was_created(api: Api) -> None:
    tags = [{"key": "team", "value": "vision"}, {"key": "empty"}]
    made = api.experiment(artifact_location="s3://bucket/here", tags=tags)
    shown = api.ok("experiments/get", experiment_id=made.id)["experiment"]
    assert shown["name"] == made.name
    assert shown["artifact_location"] == "s3://bucket/here"
    assert shown["lifecycle_stage"] == "active"
    assert shown["creation_time"] == shown["last_update_time"]
    assert {t["key"]: t["value"] for t in shown["tags"]} == {"team": "vision", "empty": ""}
    assert api.ok("experiments/get-by-name", experiment_name=made.name)["experiment"] == shown


def test_artifacts_go_below_the_default_root_unless_told_otherwise(api: Api) -> None:
    made = api.experiment()
    shown = api.ok("experiments/get", experiment_id=made.id)["experiment"]
    assert shown["artifact_location"] == f"mlflow-artifacts:/{made.id}"
    run = api.run(made.id)
    assert run.info["artifact_uri"] == f"mlflow-artifacts:/{made.id}/{run.id}/artifacts"


def test_a_name_is_taken_even_by_a_deleted_experiment(api: Api) -> None:
    made = api.experiment()
    api.ok("experiments/delete", experiment_id=made.id)
    api.fails(
        "experiments/create",
        name=made.name,
        code="RESOURCE_ALREADY_EXISTS",
        says=f"Experiment(name={made.name}) already exists.",
    )


def test_a_failed_creation_leaves_nothing_behind(api: Api) -> None:
    twice = [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]
    api.fails(
        "experiments/create",
        name="never made",
        tags=twice,
        code="BAD_REQUEST",
        says="another key",
    )
    api.fails(
        "experiments/get-by-name",
        experiment_name="never made",
        code="RESOURCE_DOES_NOT_EXIST",
        http=404,
        says="Could not find experiment with name 'never made'",
    )


def test_deleting_an_experiment_deletes_its_runs_and_restoring_brings_all_back(api: Api) -> None:
    made = api.experiment()
    kept, deleted_before = api.run(made.id), api.run(made.id)
    api.ok("runs/delete", run_id=deleted_before.id)
    api.ok("experiments/delete", experiment_id=made.id)
    assert api.get(kept.id)["info"]["lifecycle_stage"] == "deleted"
    api.fails("runs/create", experiment_id=made.id, says="must be in the 'active' state")
    api.ok("experiments/restore", experiment_id=made.id)
    assert api.get(kept.id)["info"]["lifecycle_stage"] == "active"
    assert api.get(deleted_before.id)["info"]["lifecycle_stage"] == "active"


def test_a_second_deletion_is_not_found(api: Api) -> None:
    made = api.experiment()
    api.ok("experiments/delete", experiment_id=made.id)
    api.fails(
        "experiments/delete",
        experiment_id=made.id,
        code="RESOURCE_DOES_NOT_EXIST",
        http=404,
        says=f"No Experiment with id={made.id} exists",
    )


def test_renaming_keeps_tags_and_moves_the_time_of_update(api: Api) -> None:
    made = api.experiment(tags=[{"key": "a", "value": "1"}])
    before = api.ok("experiments/get", experiment_id=made.id)["experiment"]
    api.ok("experiments/update", experiment_id=made.id, new_name=f"{made.name} renamed")
    after = api.ok("experiments/get", experiment_id=made.id)["experiment"]
    assert after["name"] == f"{made.name} renamed"
    assert after["tags"] == before["tags"]
    assert after["last_update_time"] >= before["last_update_time"]
    assert after["creation_time"] == before["creation_time"]


def test_a_deleted_experiment_cannot_be_renamed(api: Api) -> None:
    made = api.experiment()
    api.ok("experiments/delete", experiment_id=made.id)
    api.fails(
        "experiments/update",
        experiment_id=made.id,
        new_name="x",
        code="INVALID_STATE",
        http=500,
        says="Cannot rename a non-active experiment.",
    )


def test_search_gives_pages_that_join_to_the_whole(api: Api) -> None:
    names = [api.experiment(name=f"paged {n:02}").name for n in range(7)]
    query = {"filter": "name LIKE 'paged %'", "order_by": ["name"], "max_results": 3}
    found, token, pages = [], "", 0
    while True:
        page = api.ok("experiments/search", **query, page_token=token)
        found += [e["name"] for e in page["experiments"]]
        pages += 1
        token = page.get("next_page_token", "")
        if not token:
            break
    assert found == names
    assert pages == 3


def test_search_by_tag_finds_only_experiments_that_have_it(api: Api) -> None:
    tagged = api.experiment(tags=[{"key": "proof", "value": "Yes"}])
    api.experiment(tags=[{"key": "proof", "value": "no"}])
    found = api.ok("experiments/search", max_results=10, filter="tags.proof = 'Yes'")
    assert [e["experiment_id"] for e in found["experiments"]] == [tagged.id]
    assert api.ok("experiments/search", max_results=10, filter="tags.proof = 'YES'") == {}


def test_a_tag_is_overwritten_and_deleted(api: Api) -> None:
    made = api.experiment()
    for value in ("1", "2"):
        api.ok("experiments/set-experiment-tag", experiment_id=made.id, key="k", value=value)
    shown = api.ok("experiments/get", experiment_id=made.id)["experiment"]
    assert shown["tags"] == [{"key": "k", "value": "2"}]
    api.ok("experiments/delete-experiment-tag", experiment_id=made.id, key="k")
    assert "tags" not in api.ok("experiments/get", experiment_id=made.id)["experiment"]
    api.fails(
        "experiments/delete-experiment-tag",
        experiment_id=made.id,
        key="k",
        code="RESOURCE_DOES_NOT_EXIST",
        http=404,
        says=f"No tag with name: k in experiment with id {made.id}",
    )
