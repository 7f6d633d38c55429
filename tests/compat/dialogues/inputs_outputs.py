"""runs/log-inputs, runs/outputs, runs/log-model, experiments/search-datasets."""

from __future__ import annotations

import json
from typing import Any

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run

DATASET = {"name": "iris", "digest": "d1", "source_type": "local", "source": '{"uri": "x"}'}
LISTS = ("tags", "params", "metrics", "dataset_inputs", "model_inputs", "model_outputs")


def inputs(label: str, *datasets: Any, **fields: Any) -> Ask:
    body = {"run_id": "$run", "datasets": list(datasets)} | fields
    return post(label, "runs/log-inputs", {k: v for k, v in body.items() if v != "<absent>"})


def dataset(tags: Any = (), **fields: Any) -> dict[str, Any]:
    merged = DATASET | fields
    return {
        "tags": list(tags),
        "dataset": {k: v for k, v in merged.items() if v != "<absent>"},
    }


def tag(value: str, key: str = "mlflow.data.context") -> dict[str, str]:
    return {"key": key, "value": value}


def look(label: str) -> Ask:
    return get(label, "runs/get", {"run_id": "$run"}, unordered=LISTS)


def too_long(field: str, limit: int) -> tuple[Ask, Ask]:
    at_limit = {"digest": f"l{field}", field: "x" * limit}
    beyond = {"digest": f"m{field}", field: "x" * (limit + 1)}
    return (
        inputs(f"{field} of {limit}", dataset(**at_limit)),
        inputs(f"{field} of {limit + 1}", dataset(**beyond)),
    )


INPUTS = Dialogue(
    "inputs of a run",
    (
        experiment(),
        run(),
        inputs("a dataset", dataset([tag("train")], schema="{}", profile='{"rows": 3}')),
        look("one"),
        inputs("the same again, other tags", dataset([tag("test")], schema="other")),
        look("the same"),
        inputs("another digest", dataset([tag("test"), tag("v", "k")], digest="d2")),
        inputs("another name", dataset(name="wine")),
        look("three"),
        inputs("no datasets"),
        inputs("no datasets field", datasets="<absent>"),
        inputs("null datasets", datasets=None),
        inputs("two at once", dataset(digest="d3"), dataset(digest="d4")),
        inputs("the same twice at once", dataset(digest="d5"), dataset(digest="d5")),
        inputs("the same tag twice", dataset([tag("a"), tag("b")], digest="d6")),
        inputs("no tags field", {"dataset": DATASET | {"digest": "d7"}}),
        inputs("unicode", dataset([tag("трейн")], name="набор 🚀", digest="d8")),
        inputs("empty name", dataset(name="", digest="d9")),
        inputs("no name", dataset(name="<absent>")),
        inputs("no digest", dataset(digest="<absent>")),
        inputs("no source type", dataset(source_type="<absent>", digest="d10")),
        inputs("no source", dataset(source="<absent>", digest="d11")),
        inputs("null schema", dataset(schema=None, digest="d12")),
        inputs("no dataset in an input", {"tags": []}),
        inputs("empty input", {}),
        inputs("tag without key", dataset([{"value": "v"}], digest="d13")),
        inputs("tag without value", dataset([{"key": "v"}], digest="d14")),
        inputs("tag key of 255", dataset([tag("v", "k" * 255)], digest="d15")),
        inputs("tag key of 256", dataset([tag("v", "k" * 256)], digest="d16")),
        inputs("tag value of 500", dataset([tag("v" * 500)], digest="d17")),
        inputs("tag value of 501", dataset([tag("v" * 501)], digest="d18")),
        *too_long("name", 500),
        inputs("digest of 36", dataset(digest="d" * 36)),
        inputs("digest of 37", dataset(digest="d" * 37)),
        *too_long("source", 65535),
        inputs("schema beyond", dataset(digest="big", schema="x" * 1048576)),
        inputs("source type of 36", dataset(digest="d19", source_type="x" * 36)),
        inputs("source type of 37", dataset(digest="d20", source_type="x" * 37)),
        inputs("one good, one bad", dataset(digest="good"), dataset(digest="x" * 37)),
        inputs("camelCase", {"dataset": {"name": "c", "digest": "c", "sourceType": "s", "source": "s"}}),
        inputs("both spellings", {"dataset": DATASET | {"sourceType": "s"}}),
        inputs("unknown field", dataset(zzz=1, digest="d21")),
        inputs("no run", dataset(), run_id="<absent>"),
        inputs("unknown run", dataset(), run_id="nope"),
        inputs("unknown run, nothing", run_id="nope"),
        inputs("datasets as text", datasets="x"),
        inputs("datasets as object", datasets={}),
        inputs("models", models=[{"model_id": "m-1"}, {"model_id": "m-2"}]),
        inputs("models again", models=[{"model_id": "m-1"}]),
        inputs("same model twice", models=[{"model_id": "m-3"}, {"model_id": "m-3"}]),
        inputs("model without id", models=[{}]),
        inputs("models and datasets", dataset(digest="d22"), models=[{"model_id": "m-4"}]),
        inputs("models as text", models="x"),
        look("everything"),
        post("a second run", "runs/create", {"experiment_id": "$exp", "run_name": "two", "start_time": 2}, keep={"run": "run.info.run_id"}),
        inputs("known dataset in a second run", dataset([tag("eval")], source="changed", schema="changed")),
        look("second run"),
        post("search shows no model inputs", "runs/search", {"experiment_ids": ["$exp"]}, unordered=LISTS),
    ),
)  # fmt: skip


def outputs(label: str, **fields: Any) -> Ask:
    return post(label, "runs/outputs", {"run_id": "$run"} | fields)


OUTPUTS = Dialogue(
    "outputs of a run",
    (
        experiment(),
        run(),
        outputs("one", models=[{"model_id": "m-1", "step": 3}]),
        outputs("two", models=[{"model_id": "m-2"}, {"model_id": "m-3", "step": "5"}]),
        outputs("the first again", models=[{"model_id": "m-1", "step": 3}]),
        outputs("the first at another step", models=[{"model_id": "m-1", "step": 4}]),
        outputs("negative step", models=[{"model_id": "m-4", "step": -1}]),
        outputs("large step", models=[{"model_id": "m-5", "step": 9223372036854775807}]),
        outputs("no models"),
        outputs("null models", models=None),
        outputs("empty models", models=[]),
        outputs("model without id", models=[{"step": 1}]),
        outputs("empty model", models=[{}]),
        outputs("camelCase", models=[{"modelId": "m-6"}]),
        outputs("both spellings", models=[{"modelId": "m-6", "model_id": "m-7"}]),
        outputs("models as text", models="x"),
        outputs("models as object", models={"model_id": "m-1"}),
        outputs("no run", run_id=None, models=[{"model_id": "m-1"}]),
        outputs("unknown run", run_id="nope", models=[{"model_id": "m-1"}]),
        look("outputs"),
    ),
)

MODEL = {
    "artifact_path": "model",
    "flavors": {"python_function": {"loader_module": "x"}},
    "utc_time_created": "2024-01-01 00:00:00",
    "run_id": "$run",
}


HISTORY_TAG = "mlflow.log-model.history"


def model(label: str, text: Any, **fields: Any) -> Ask:
    body = {"run_id": "$run", "model_json": text} | fields
    return post(label, "runs/log-model", {k: v for k, v in body.items() if v != "<absent>"})


LOG_MODEL = Dialogue(
    "log a model",
    (
        experiment(),
        run(),
        run("a second run", keep="second"),
        model("one", json.dumps(MODEL)),
        look("after one"),
        model("another", json.dumps(MODEL | {"artifact_path": "other", "extra": [1, None, "é"]})),
        look("after two"),
        model("the same path again", json.dumps(MODEL | {"utc_time_created": "2025-01-01 00:00:00"})),
        look("after three"),
        model("with more", json.dumps(MODEL | {"model_uuid": "u", "mlflow_version": "3.0.0"})),
        model("with the config of a flavor", json.dumps(MODEL | {"flavors": {"sklearn": {"config": {"a": 1}, "code": None}, "x": 5}})),
        look("after five"),
        model("empty object", "{}"),
        model("a list", "[]"),
        model("a text", '"abc"'),
        model("a null", "null"),
        model("not JSON", "x"),
        model("empty", ""),
        model("absent", "<absent>"),
        model("null", None),
        model("an object", MODEL),
        model("a number", 5),
        *(
            model(f"without {field}", json.dumps({k: v for k, v in MODEL.items() if k != field}))
            for field in MODEL
        ),
        model("another run in the model", json.dumps(MODEL | {"run_id": "other"})),
        model("no run", json.dumps(MODEL), run_id="<absent>"),
        model("unknown run", json.dumps(MODEL), run_id="nope"),
        model("flavors is text", json.dumps(MODEL | {"flavors": "x"})),
        model("an empty flavors", json.dumps(MODEL | {"flavors": {}})),
        *(
            model(f"null {field}", json.dumps(MODEL | {field: None}))
            for field in ("artifact_path", "flavors", "run_id")
        ),
        model("null for the time", json.dumps(MODEL | {"utc_time_created": None}), run_id="$second"),
        model("a number for the time", json.dumps(MODEL | {"utc_time_created": 1.5})),
        look("with nulls"),
        *(
            ask
            for text in ("nope", "", "{}")
            for ask in (
                post(f"tag {text!r}", "runs/set-tag", {"run_id": "$run", "key": HISTORY_TAG, "value": text}),
                model(f"after tag {text!r}", json.dumps(MODEL)),
            )
        ),
    ),
)  # fmt: skip


def datasets(label: str, body: Any) -> Ask:
    return post(
        label,
        "/ajax-api/2.0/mlflow/experiments/search-datasets",
        body,
        unordered=("dataset_summaries",),
    )


SEARCH_DATASETS = Dialogue(
    "search datasets",
    (
        experiment(),
        run(),
        datasets("none yet", {"experiment_ids": ["$exp"]}),
        inputs("iris for training", dataset([tag("train")])),
        inputs("iris of another digest", dataset([tag("test")], digest="d2")),
        inputs("wine without context", dataset(name="wine")),
        inputs("other tags", dataset([tag("v", "k")], name="other")),
        post("a second run", "runs/create", {"experiment_id": "$exp", "run_name": "two", "start_time": 2}, keep={"run": "run.info.run_id"}),
        inputs("iris for evaluation", dataset([tag("eval")])),
        datasets("all", {"experiment_ids": ["$exp"]}),
        datasets("twice the experiment", {"experiment_ids": ["$exp", "$exp"]}),
        datasets("unknown experiment too", {"experiment_ids": ["$exp", "999999"]}),
        datasets("unknown experiment", {"experiment_ids": ["999999"]}),
        datasets("no experiments", {}),
        datasets("empty experiments", {"experiment_ids": []}),
        datasets("null experiments", {"experiment_ids": None}),
        datasets("20 experiments", {"experiment_ids": ["$exp"] * 20}),
        datasets("21 experiments", {"experiment_ids": ["$exp"] * 21}),
        datasets("experiments beyond 32 bits", {"experiment_ids": ["$exp", "2147483648"]}),
        datasets("experiments beyond 64 bits", {"experiment_ids": ["9223372036854775808"]}),
        datasets("experiments as text", {"experiment_ids": "$exp"}),
        datasets("experiments as numbers", {"experiment_ids": [0]}),
        datasets("experiments of letters", {"experiment_ids": ["abc"]}),
        datasets("camelCase", {"experimentIds": ["$exp"]}),
        post("delete the run", "runs/delete", {"run_id": "$run"}),
        datasets("after deleting a run", {"experiment_ids": ["$exp"]}),
        get("by GET", "/ajax-api/2.0/mlflow/experiments/search-datasets", {"experiment_ids": "$exp"}),
        post("under /api", "/api/2.0/mlflow/experiments/search-datasets", {"experiment_ids": ["$exp"]}),
    ),
)  # fmt: skip

DIALOGUES = (INPUTS, OUTPUTS, LOG_MODEL, SEARCH_DATASETS)
