"""Runs: creation, names, status, lifecycle, params, tags, inputs, on each database."""

from __future__ import annotations

import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.fill import fill
from tests.wire import Wire

from headrace.api.tracking.runs.assessments_sql import MOST_IDS

if TYPE_CHECKING:
    from tests.fix_api import Api

SOURCE_RUN = "mlflow.assessment.sourceRunId"


def test_a_run_without_a_name_gets_one(api: Api) -> None:
    run = api.run()
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d+", run.info["run_name"])
    assert run.tags == {"mlflow.runName": run.info["run_name"]}
    assert re.fullmatch(r"[0-9a-f]{32}", run.id)
    assert api.get(run.id)["info"] == run.info


def test_a_run_is_named_by_argument_or_by_tag_but_not_by_both_differently(api: Api) -> None:
    named = [{"key": "mlflow.runName", "value": "tagged"}]
    assert api.run(tags=named).info["run_name"] == "tagged"
    assert api.run(run_name="tagged", tags=named).info["run_name"] == "tagged"
    api.fails(
        "runs/create",
        experiment_id=api.experiment().id,
        run_name="other",
        tags=named,
        says="with different values (run_name='other', mlflow.runName='tagged')",
    )


def test_runs_created_together_lie_below_the_locations_of_their_experiments(api: Api) -> None:
    roots = [
        "s3://bucket/a",
        "s3://bucket/b?version=1",
        "s3://bucket/c/",
        "/an y/where",
        "file:///d",
    ]
    experiments = {api.experiment(artifact_location=root).id: root for root in roots}
    deleted = api.experiment().id
    api.ok("experiments/delete", experiment_id=deleted)

    def create(experiment_id: str) -> Any:
        body = json.dumps({"experiment_id": experiment_id}).encode()
        headers = {"Content-Type": "application/json"}
        with Wire(api.server.url) as wire:
            return wire.ask("POST", "/api/2.0/mlflow/runs/create", body, headers)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(create, [*experiments, deleted, "98765"] * 6))
    refused = [answer for answer in answers if answer.status != 200]
    assert sorted(answer.status for answer in refused) == [400] * 6 + [404] * 6
    for answer in answers:
        if answer.status == 200:
            info = answer.json()["run"]["info"]
            root, mark, query = experiments[info["experiment_id"]].partition("?")
            path = f"{root.rstrip('/')}/{info['run_id']}/artifacts"
            assert info["artifact_uri"] == path + mark + query
            assert api.get(info["run_id"])["info"]["artifact_uri"] == path + mark + query


@pytest.mark.parametrize("way", ["update", "tag", "batch"])
def test_a_run_is_renamed_in_every_way_at_both_places(api: Api, way: str) -> None:
    run = api.run(run_name="before")
    tag = {"key": "mlflow.runName", "value": "after"}
    if way == "update":
        api.ok("runs/update", run_id=run.id, run_name="after")
    elif way == "tag":
        api.ok("runs/set-tag", run_id=run.id, **tag)
    else:
        api.ok("runs/log-batch", run_id=run.id, tags=[tag])
    shown = api.get(run.id)
    assert shown["info"]["run_name"] == "after"
    assert shown["tags"]["mlflow.runName"] == "after"


def test_an_empty_name_changes_nothing(api: Api) -> None:
    run = api.run(run_name="kept")
    api.ok("runs/update", run_id=run.id, run_name="")
    api.ok("runs/set-tag", run_id=run.id, key="mlflow.runName", value="")
    shown = api.get(run.id)
    assert shown["info"]["run_name"] == "kept"
    assert shown["tags"]["mlflow.runName"] == "kept"


def test_a_run_ends_with_status_and_time(api: Api) -> None:
    run = api.run(start_time=1_700_000_000_000)
    assert run.info["status"] == "RUNNING"
    assert "end_time" not in run.info
    ended = api.ok("runs/update", run_id=run.id, status="FINISHED", end_time=1_700_000_001_000)
    assert ended["run_info"]["status"] == "FINISHED"
    assert ended["run_info"]["end_time"] == 1_700_000_001_000
    assert api.get(run.id)["info"] == ended["run_info"]


def test_a_status_that_does_not_exist_is_refused_and_changes_nothing(api: Api) -> None:
    run = api.run()
    api.fails("runs/update", run_id=run.id, status="DONE", run_name="no", says='"DONE"')
    assert api.get(run.id)["info"] == run.info


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("runs/log-metric", {"key": "m", "value": 1.0, "timestamp": 1}),
        ("runs/log-parameter", {"key": "p", "value": "1"}),
        ("runs/set-tag", {"key": "t", "value": "1"}),
        ("runs/delete-tag", {"key": "mlflow.runName"}),
        ("runs/log-batch", {"tags": [{"key": "t", "value": "1"}]}),
        ("runs/log-inputs", {"models": [{"model_id": "m-1"}]}),
        ("runs/update", {"status": "FINISHED"}),
    ],
)
def test_a_deleted_run_takes_no_more_writes(api: Api, path: str, fields: dict[str, object]) -> None:
    run = api.run()
    api.ok("runs/delete", run_id=run.id)
    before = api.get(run.id)
    api.fails(
        path,
        run_id=run.id,
        says="must be in the 'active' state. Current state is deleted.",
        **fields,
    )
    assert api.get(run.id) == before
    api.ok("runs/restore", run_id=run.id)
    api.ok(path, run_id=run.id, **fields)


def changing(uri: str) -> Any:
    """A direct connection to the server's database."""
    if uri.startswith("sqlite"):
        return sqlite3.connect(urlsplit(uri).path[1:], timeout=30)
    return psycopg.connect(uri)


def assess(cursor: Any, experiment: str, metadata: dict[str, str]) -> None:
    """Store assessments of a trace in an experiment, by name, each with that text as its metadata."""
    cursor.execute(
        "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status)"
        f" VALUES ('tr-{experiment}', {experiment}, 1, 'OK')"
    )
    for name, text in metadata.items():
        cursor.execute(
            "INSERT INTO assessments (assessment_id, trace_id, name, assessment_type, value,"
            " created_timestamp, last_updated_timestamp, source_type, valid, assessment_metadata)"
            f" VALUES ('{name}-{experiment}', 'tr-{experiment}', '{name}', 'feedback', '1', 1, 1,"
            f" 'HUMAN', true, '{text}')"
        )


def assessed(cursor: Any, experiment: str) -> list[str]:
    """The names of the assessments of that trace."""
    cursor.execute(f"SELECT name FROM assessments WHERE trace_id = 'tr-{experiment}' ORDER BY name")
    return [name for (name,) in cursor.fetchall()]


def test_deleting_a_run_deletes_the_assessments_that_it_made_and_no_others(
    api: Api,
) -> None:
    """Also if other metadata contains the key but is not JSON."""
    run, other = api.run(), api.run()
    metadata = {
        "mine": json.dumps({"a": 1, SOURCE_RUN: run.id}),
        "others": json.dumps({SOURCE_RUN: other.id}),
        "text": f"no JSON, {SOURCE_RUN} or {run.id}",
    }
    with closing(changing(api.uri)) as connection:
        cursor = connection.cursor()
        assess(cursor, run.experiment_id, metadata)
        connection.commit()
        api.ok("runs/delete", run_id=run.id)
        assert assessed(cursor, run.experiment_id) == ["others", "text"]


def test_deleting_an_experiment_deletes_the_assessments_that_its_runs_made(api: Api) -> None:
    """Those of deleted runs too; not those that runs of other experiments made."""
    run, other = api.run(), api.run()
    second, deleted = api.run(run.experiment_id), api.run(run.experiment_id)
    api.ok("runs/delete", run_id=deleted.id)
    metadata = {
        "mine": json.dumps({"a": "b", SOURCE_RUN: run.id, "z": "y"}),
        "second": json.dumps({SOURCE_RUN: second.id}),
        "deleted": json.dumps({SOURCE_RUN: deleted.id}),
        "others": json.dumps({SOURCE_RUN: other.id}),
        "text": f"no JSON, {SOURCE_RUN} or {run.id}",
        "unclosed": f'{{"{SOURCE_RUN}": "',
    }
    with closing(changing(api.uri)) as connection:
        cursor = connection.cursor()
        assess(cursor, run.experiment_id, metadata)
        connection.commit()
        api.ok("experiments/delete", experiment_id=run.experiment_id)
        assert assessed(cursor, run.experiment_id) == ["others", "text", "unclosed"]


def test_of_many_assessments_none_is_left_behind(api: Api) -> None:
    """More than are looked for before the transaction that deletes them."""
    run = api.run()
    columns = (
        "assessment_id, trace_id, name, assessment_type, value, created_timestamp,"
        " last_updated_timestamp, source_type, valid, assessment_metadata"
    )
    trace, text = f"tr-{run.experiment_id}", json.dumps({SOURCE_RUN: run.id})
    rest = (trace, "a", "feedback", "1", 1, 1, "HUMAN", True, text)
    with closing(changing(api.uri)) as connection:
        cursor = connection.cursor()
        assess(cursor, run.experiment_id, {})
        connection.commit()
        rows = [(f"{trace}-{n}", *rest) for n in range(MOST_IDS + 5)]
        fill(api.uri, "assessments", columns, rows)
        api.ok("experiments/delete", experiment_id=run.experiment_id)
        assert assessed(cursor, run.experiment_id) == []


def test_an_unknown_run_is_not_found_by_any_endpoint(api: Api) -> None:
    not_found = {
        "code": "RESOURCE_DOES_NOT_EXIST",
        "http": 404,
        "says": "Run with id=nope not found",
    }
    api.fails("runs/get", run_id="nope", **not_found)
    api.fails("runs/update", run_id="nope", **not_found)
    api.fails("runs/delete", run_id="nope", **not_found)
    api.fails("runs/restore", run_id="nope", **not_found)
    api.fails("runs/log-metric", run_id="nope", key="m", value=1, timestamp=1, **not_found)
    api.fails("runs/log-batch", run_id="nope", **not_found)
    api.fails("runs/set-tag", run_id="nope", key="k", value="v", **not_found)


def test_a_param_may_be_logged_again_but_not_changed(api: Api) -> None:
    run = api.run()
    api.ok("runs/log-parameter", run_id=run.id, key="lr", value="0.1")
    api.ok("runs/log-parameter", run_id=run.id, key="lr", value="0.1")
    api.fails(
        "runs/log-parameter",
        run_id=run.id,
        key="lr",
        value="0.2",
        says="Param with key='lr' was already logged with value='0.1'",
    )
    assert api.get(run.id)["params"] == {"lr": "0.1"}


def test_log_batch_leaves_nothing_behind_when_one_param_conflicts(api: Api) -> None:
    run = api.run()
    api.ok("runs/log-parameter", run_id=run.id, key="lr", value="0.1")
    before = api.get(run.id)
    api.fails(
        "runs/log-batch",
        run_id=run.id,
        params=[{"key": "new", "value": "1"}, {"key": "lr", "value": "0.2"}],
        metrics=[{"key": "m", "value": 1.0, "timestamp": 1}],
        tags=[{"key": "t", "value": "1"}],
        says="Params were already logged='[{'key': 'lr', 'old_value': '0.1', 'new_value': '0.2'}]'",
    )
    assert api.get(run.id) == before
    assert api.history(run.id, "m") == []


def test_log_batch_leaves_nothing_behind_when_a_model_is_unknown(api: Api) -> None:
    run = api.run()
    before = api.get(run.id)
    api.fails(
        "runs/log-batch",
        run_id=run.id,
        params=[{"key": "p", "value": "1"}],
        metrics=[{"key": "m", "value": 1.0, "timestamp": 1, "model_id": "m-none"}],
        code="BAD_REQUEST",
        says="",
    )
    assert api.get(run.id) == before


def test_long_values_are_cut_where_mlflow_cuts_them(api: Api) -> None:
    run = api.run()
    api.ok("runs/log-parameter", run_id=run.id, key="p", value="x" * 7000)
    api.ok("runs/set-tag", run_id=run.id, key="t", value="y" * 9000)
    shown = api.get(run.id)
    assert shown["params"]["p"] == "x" * 6000
    assert shown["tags"]["t"] == "y" * 8000


def test_a_full_batch_is_taken_and_one_more_is_not(api: Api) -> None:
    run = api.run()
    params = [{"key": f"p{n}", "value": str(n)} for n in range(100)]
    metrics = [{"key": f"m{n}", "value": n / 3, "timestamp": n} for n in range(900)]
    api.ok("runs/log-batch", run_id=run.id, metrics=metrics, params=params)
    shown = api.get(run.id)
    assert len(shown["metrics"]) == 900
    assert len(shown["params"]) == 100
    api.fails(
        "runs/log-batch",
        run_id=run.id,
        metrics=metrics,
        params=params,
        tags=[{"key": "t", "value": "1"}],
        says="at most 1000 metrics, params, and tags. Got 1001",
    )


def test_inputs_are_shown_with_their_datasets(api: Api) -> None:
    run = api.run()
    dataset = {"name": "iris", "digest": "d1", "source_type": "local", "source": "{}"}
    tags = [{"key": "mlflow.data.context", "value": "train"}]
    api.ok("runs/log-inputs", run_id=run.id, datasets=[{"dataset": dataset, "tags": tags}])
    api.ok("runs/log-inputs", run_id=run.id, models=[{"model_id": "m-1"}])
    api.ok("runs/outputs", run_id=run.id, models=[{"model_id": "m-2", "step": 3}])
    shown = api.get(run.id)
    assert shown["inputs"] == {
        "dataset_inputs": [{"tags": tags, "dataset": dataset}],
        "model_inputs": [{"model_id": "m-1"}],
    }
    assert shown["outputs"] == {"model_outputs": [{"model_id": "m-2", "step": 3}]}


def test_a_retried_request_writes_nothing_twice(api: Api) -> None:
    run = api.run()
    dataset = {"name": "iris", "digest": "d1", "source_type": "local", "source": "{}"}
    batch = {
        "metrics": [{"key": "m", "value": 1.0, "timestamp": 1}],
        "params": [{"key": "p", "value": "1"}],
        "tags": [{"key": "t", "value": "1"}],
    }
    for _ in range(2):
        api.ok("runs/log-batch", run_id=run.id, **batch)
        api.ok("runs/log-inputs", run_id=run.id, datasets=[{"dataset": dataset}])
        api.ok("runs/outputs", run_id=run.id, models=[{"model_id": "m-2"}])
    shown = api.get(run.id)
    assert api.history(run.id, "m") == [(1, 0, 1.0)]
    assert len(shown["inputs"]["dataset_inputs"]) == 1
    assert len(shown["outputs"]["model_outputs"]) == 1
