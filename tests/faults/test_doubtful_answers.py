"""The answer to a COMMIT is lost, for every kind of write: the client gets the answer of the committed write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.faults.load import API, JSON, Once
from tests.faults.stored import rows
from tests.fix_proxy import behind_proxy

if TYPE_CHECKING:
    from pathlib import Path

DATASET = {"name": "d {u}", "digest": "1", "source_type": "local", "source": "s"}
MODEL = {"run_id": "{run}", "artifact_path": "a", "utc_time_created": "2026-01-01", "flavors": {}}
EVENTS = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
# Method, route and body; where its rows are, and how many there must be. `{u}` is another text for each case. The
# other names are those of objects that are made before (`prepared`).
CASES: dict[str, tuple[str, str, dict[str, Any], str, int]] = {
    "create run": ("POST", "runs/create", {"experiment_id": "0", "run_name": "{u}"},
        "runs WHERE name = '{u}'", 1),
    "log batch": ("POST", "runs/log-batch", {"run_id": "{run}", "params": [{"key": "p", "value": "v"}]},
        "params WHERE run_uuid = '{run}'", 1),
    "set tag": ("POST", "runs/set-tag", {"run_id": "{run}", "key": "t", "value": "v"},
        "tags WHERE run_uuid = '{run}' AND key = 't'", 1),
    "update run": ("POST", "runs/update", {"run_id": "{run}", "status": "FINISHED"},
        "runs WHERE run_uuid = '{run}' AND status = 'FINISHED'", 1),
    "delete tag": ("POST", "runs/delete-tag", {"run_id": "{run}", "key": "old"},
        "tags WHERE run_uuid = '{run}' AND key = 'old'", 0),
    "delete run": ("POST", "runs/delete", {"run_id": "{run}"},
        "runs WHERE run_uuid = '{run}' AND lifecycle_stage = 'deleted'", 1),
    "log inputs": ("POST", "runs/log-inputs", {"run_id": "{run}", "datasets": [{"dataset": DATASET}]},
        "inputs WHERE destination_id = '{run}'", 1),
    "log outputs": ("POST", "runs/outputs", {"run_id": "{run}", "models": [{"model_id": "m", "step": 1}]},
        "inputs WHERE source_id = '{run}'", 1),
    "log model": ("POST", "runs/log-model", {"run_id": "{run}", "model_json": json.dumps(MODEL)},
        "tags WHERE run_uuid = '{run}' AND value LIKE '%artifact_path%' AND value NOT LIKE '%path%path%'", 1),
    "create experiment": ("POST", "experiments/create", {"name": "{u}"},
        "experiments WHERE name = '{u}'", 1),
    "rename experiment": ("POST", "experiments/update", {"experiment_id": "{experiment}", "new_name": "{u}"},
        "experiments WHERE name = '{u}'", 1),
    "delete experiment": ("POST", "experiments/delete", {"experiment_id": "{experiment}"},
        "experiments WHERE experiment_id = {experiment} AND lifecycle_stage = 'deleted'", 1),
    "tag experiment": ("POST", "experiments/set-experiment-tag",
        {"experiment_id": "{experiment}", "key": "k", "value": "v"},
        "experiment_tags WHERE experiment_id = {experiment}", 1),
    "create model": ("POST", "registered-models/create", {"name": "{u}"},
        "registered_models WHERE name = '{u}'", 1),
    "rename model": ("POST", "registered-models/rename", {"name": "{model}", "new_name": "{u}"},
        "registered_models WHERE name = '{u}'", 1),
    "delete model": ("DELETE", "registered-models/delete", {"name": "{model}"},
        "registered_models WHERE name = '{model}'", 0),
    "create version": ("POST", "model-versions/create", {"name": "{model}", "source": "s3://bucket/x"},
        "model_versions WHERE name = '{model}' AND source = 's3://bucket/x'", 1),
    "delete version": ("DELETE", "model-versions/delete", {"name": "{model}", "version": "1"},
        "model_versions WHERE name = '{model}' AND current_stage <> 'Deleted_Internal'", 0),
    "set alias": ("POST", "registered-models/alias", {"name": "{model}", "alias": "new", "version": "1"},
        "registered_model_aliases WHERE name = '{model}' AND alias = 'new'", 1),
    "delete alias": ("DELETE", "registered-models/alias", {"name": "{model}", "alias": "old"},
        "registered_model_aliases WHERE name = '{model}'", 0),
    "create logged model": ("POST", "logged-models", {"experiment_id": "0", "name": "{u}"},
        "logged_models WHERE name = '{u}'", 1),
    "delete logged model": ("DELETE", "logged-models/{logged}", {},
        "logged_models WHERE model_id = '{logged}' AND lifecycle_stage = 'deleted'", 1),
    "log params of a model": ("POST", "logged-models/{logged}/params",
        {"model_id": "{logged}", "params": [{"key": "p", "value": "v"}]},
        "logged_model_params WHERE model_id = '{logged}'", 1),
    "delete logged model tag": ("DELETE", "logged-models/{logged}/tags/old", {},
        "logged_model_tags WHERE model_id = '{logged}'", 0),
    "create webhook": ("POST", "webhooks",
        {"name": "{u}", "status": "DISABLED", "url": "https://93.184.215.14/", "events": EVENTS},
        "webhooks WHERE name = '{u}'", 1),
}  # fmt: skip


def prepared(wire: Once, unique: str) -> dict[str, str]:
    """Create what the cases change or delete; the ids by the names in the cases."""
    names = {"u": unique, "run": wire.new_run(), "model": f"model {unique}"}
    made = wire.made("experiments/create", {"name": f"before {unique}"})
    names["experiment"] = made["experiment_id"]
    wire.made("runs/set-tag", {"run_id": names["run"], "key": "old", "value": "v"})
    model = {"name": names["model"]}
    wire.made("registered-models/create", model)
    wire.made("model-versions/create", {**model, "source": "s3://bucket/before"})
    wire.made("registered-models/alias", {**model, "alias": "old", "version": "1"})
    body = {"experiment_id": "0", "name": "before", "tags": [{"key": "old", "value": "v"}]}
    names["logged"] = wire.made("logged-models", body)["model"]["info"]["model_id"]
    return names


def filled(text: str, names: dict[str, str]) -> str:
    """A text with its placeholders replaced."""
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text


def test_no_client_notices_that_the_answer_to_commit_is_lost(
    tmp_path: Path, postgres_uri: str
) -> None:
    """The connection breaks after COMMIT. Each request is sent once, answered 200 and applied once."""
    wrong = {}
    with behind_proxy(postgres_uri, tmp_path) as (proxy, server), Once(server.url) as wire:
        for number, (case, (method, route, body, where, wanted)) in enumerate(CASES.items()):
            names = prepared(wire, f"case-{number}")
            before = proxy.lost_answers
            # A run is created by one statement, which has its name and commits by itself.
            commit = f"case-{number}".encode() if case == "create run" else b"COMMIT\0"
            proxy.lose_answer_to(commit, then=proxy.reset)
            answer = wire.ask(
                method,
                API + filled(route, names),
                filled(json.dumps(body), names).encode(),
                headers=JSON,
            )
            found = rows(postgres_uri, f"SELECT count(*) FROM {filled(where, names)}")[0][0]
            if (answer.status, found, proxy.lost_answers) != (200, wanted, before + 1):
                wrong[case] = (answer.status, answer.body[:200], found, proxy.lost_answers - before)
    assert not wrong
