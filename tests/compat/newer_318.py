"""Requests to which MLflow 3.18 gives another answer than 3.17, and headrace that of 3.18.

Of routes that have nothing to do with issues, traces or skills; see issues_318.py for the first.
"""

from __future__ import annotations

from typing import Any, Final

from tests.compat.dialogue import Ask, Dialogue, delete, experiment, get, patch, post, run

ROOT: Final = "/api/2.0/mlflow-artifacts/"
FILES: Final = f"{ROOT}artifacts/"


def model(name: str) -> Ask:
    """A logged model of `$exp`."""
    body = {"experiment_id": "$exp", "name": name}
    return post(name, "logged-models", body, keep={name: "model.info.model_id"}, pause_ms=3)


def point(
    label: str,
    model_name: str,
    value: float,
    step: int,
    timestamp: int,
    data: str,
    of_run: str = "$run",
) -> Ask:
    """A point of the metric `loss` of a model, measured on a dataset in a run."""
    metric = {
        "key": "loss", "value": value, "step": step, "timestamp": timestamp,
        "model_id": f"${model_name}",
    } | ({"dataset_name": data, "dataset_digest": f"digest of {data}"} if data else {})  # fmt: skip
    return post(label, "runs/log-batch", {"run_id": of_run, "metrics": [metric]})


def models(label: str, filter_: str = "", **fields: Any) -> Ask:
    """Search the logged models of `$exp`."""
    body = {"experiment_ids": ["$exp"], "filter": filter_} | fields
    return post(label, "logged-models/search", body, unordered=("metrics",))


def of(name: str) -> dict[str, str]:
    """A dataset of a search."""
    return {"dataset_name": name, "dataset_digest": f"digest of {name}"}


def by(**fields: Any) -> dict[str, Any]:
    """An order of a search, by the metric."""
    return {"order_by": [{"field_name": "metrics.loss"} | fields]}


LOGGED_MODELS = Dialogue(
    "logged models of 3.18",
    (
        experiment(),
        run(),
        run("another run", keep="another"),
        model("ant"),
        model("bee"),
        model("cat"),
        # The latest point is the one of the highest step, then timestamp, then value.
        point("ant, an old step", "ant", 9.0, 1, 50, "a"),
        point("ant, the last step", "ant", 1.0, 2, 10, "b"),
        point("bee, first", "bee", 5.0, 1, 10, "a"),
        point("bee, later", "bee", 6.0, 1, 20, "a"),
        point("bee, later and less", "bee", 5.5, 1, 20, "b", "$another"),
        models("by the latest loss", "metrics.loss < 2"),
        models("by an older loss", "metrics.loss > 8"),
        models("of one dataset", "metrics.loss > 8", datasets=[of("a")]),
        models("of another dataset", "metrics.loss > 8", datasets=[of("b")]),
        models("the greater of two values", "metrics.loss = 6"),
        models("the lesser of two values", "metrics.loss = 5.5"),
        models("any loss", datasets=[of("b")]),
        models("an unknown metric", "metrics.none > 0"),
        models("two conditions", "metrics.loss > 0 AND metrics.loss < 6"),
        models("ordered", **by()),
        models("ordered downwards", **by(ascending=False)),
        models("ordered by one dataset", **by(ascending=False, dataset_name="a")),
        models("ordered by the other dataset", **by(ascending=False, **of("b"))),
        models("ordered by those of a dataset", datasets=[of("a")], **by(ascending=False)),
        models("ordered by none", datasets=[of("a")], **by(**of("b"))),
        patch("finalized by its path", "logged-models/$ant", {"model_id": "$bee", "status": "LOGGED_MODEL_READY"},
            unordered=("metrics",)),
        patch("finalized without an id", "logged-models/$ant", {"status": "LOGGED_MODEL_READY"}),
        get("finalized", "logged-models/$ant", unordered=("metrics",)),
        get("not finalized", "logged-models/$bee", unordered=("metrics",)),
        *(
            models(text, text)
            for text in (
                "status = 'READY'", "status != 'READY'", "status IN ('READY', 'PENDING')",
                "status NOT IN ('READY')", "status = 'ready'", "status IN ('READY', 'x')",
                "status LIKE 'R%'", "status ILIKE 'r%'", "status = 'UNSPECIFIED'", "status = 'FAILED'",
                "status = READY", "attributes.status = 'PENDING'",
            )
        ),
        models("a wrong experiment and a wrong status", "status = 'x'", experiment_ids=["x"]),
    ),
)  # fmt: skip


def experiments(filter_: str) -> Ask:
    """Search the experiments."""
    return post(filter_, "experiments/search", {"max_results": 5, "filter": filter_})


EXPERIMENTS = Dialogue(
    "experiments of 3.18",
    (
        experiment(),
        post("a tag", "experiments/set-experiment-tag", {"experiment_id": "$exp", "key": "t", "value": "V"}),
        *map(experiments, (
            "name like '%of 3.18'", "name Like '%OF 3.18'", "name ilike '%OF 3.18'", "attributes.name = '$dialogue'",
            "attribute.name = '$dialogue'", "tags.t like 'V'", "tags.t ilike 'v'", "experiment_id in ('$exp')",
            "experiment_id not in ('0') AND name = '$dialogue'", "attributes.experiment_id = '$exp'", "attributes.bogus = 'x'",
            "param.x = 'x'", "name in ('x')", "tags.t in ('V')", "tags.t is null AND name = '$dialogue'", "name is null",
            "attributes.creation_time > 0 AND name = '$dialogue'", "creation_time like 'x'",
        )),
        post("ordered", "experiments/search",
            {"max_results": 2, "order_by": ["attributes.name"], "filter": "name = '$dialogue'"}),
        post("ordered by a metric", "experiments/search", {"max_results": 2, "order_by": ["metrics.name"]}),
        post("a blank name", "experiments/create", {"name": "  "}),
        post("a name of blanks of Unicode", "experiments/create", {"name": "\u2003\n"}),
        post("renamed to blanks", "experiments/update", {"experiment_id": "$exp", "new_name": " "}),
        post("a location with a blank value", "experiments/create",
            {"name": "with $dialogue", "artifact_location": "s3://bucket/a?b=&c=.."}),
        post("a location with a value", "experiments/create",
            {"name": "without $dialogue", "artifact_location": "s3://bucket/a?b=&c=d"}),
    ),
)  # fmt: skip
NAMES = Dialogue(
    "ends of lines of 3.18",
    (
        experiment(),
        run(),
        post("a metric", "runs/log-metric", {"run_id": "$run", "key": "m\n", "value": 1, "timestamp": 1}),
        post("a param", "runs/log-parameter", {"run_id": "$run", "key": "p\n", "value": "1"}),
        post("a tag", "runs/set-tag", {"run_id": "$run", "key": "t\n", "value": "1"}),
        post("a tag of an experiment", "experiments/set-experiment-tag",
            {"experiment_id": "$exp", "key": "t\n", "value": "1"}),
        post("a batch", "runs/log-batch", {"run_id": "$run\n", "metrics": []}),
        post("inputs", "runs/log-inputs", {"run_id": "$run\n", "datasets": []}),
        post("a model", "registered-models/create", {"name": "of 3.18"}),
        post("an alias", "registered-models/alias", {"name": "of 3.18", "alias": "a\n", "version": "1"}),
        post("a version's alias", "registered-models/alias", {"name": "of 3.18", "alias": "v1\n", "version": "1"}),
        get("the run", "runs/get", {"run_id": "$run"}, unordered=("tags",)),
    ),
)  # fmt: skip
REGISTRY = Dialogue(
    "registry searches of 3.18",
    tuple(
        get(f"{path} {text}", path, {"filter": text, "max_results": 1})
        for path in ("registered-models/search", "model-versions/search")
        for text in (
            "name IS NULL", "tags.t IS NOT NULL", "bogus IS NULL", "bogus = 'x' AND name IS NULL",
            "name IS NULL AND bogus = 'x'", "attributes.name = 'x'",
        )
    ),
)  # fmt: skip


def part(label: str, path: str, directory: str = "d") -> Ask:
    """Begin an upload in parts, which no local store has: the path is checked before."""
    return post(label, f"{ROOT}mpu/create/{directory}", {"path": path, "num_parts": 1})


ARTIFACTS = Dialogue(
    "artifacts of 3.18",
    (
        *(
            part(repr(path), path)
            for path in (
                "a", "/home/user/a", "C:\\Users\\a", "..", ".", "x/..", "x\\..", "", "x/", "x%5C..", "a%2Fb",
                "a%5Cb", "C:", "%2e%2e",
            )
        ),
        part("a part of a skill", "a", "skills/s"),
        *(
            Ask(f"put {path}", "PUT", FILES + path, b"x")
            for path in ("skills/s/a", "Skills/s", "./skills/s", "workspaces/w/skills/a", "skillsets/a", "a/skills")
        ),
        delete("a skill", FILES + "skills/s"),
        delete("all skills", FILES + "skills"),
        delete("no skill", FILES + "skillsets"),
        experiment(),
        run(),
        post("a logged model", "logged-models", {"experiment_id": "$exp", "name": "m"},
            keep={"model": "model.info.model_id"}),
        get("a model's presigned file", "/ajax-api/2.0/mlflow/logged-models/$model/artifacts/files",
            {"artifact_file_path": "MLmodel", "presigned": "true"}),
        get("an unknown model's presigned file", "/ajax-api/2.0/mlflow/logged-models/m-none/artifacts/files",
            {"artifact_file_path": "MLmodel", "presigned": "true"}),
        post("a registered model", "registered-models/create", {"name": "with files of 3.18"}),
        post("a version", "model-versions/create",
            {"name": "with files of 3.18", "source": "runs:/$run/m", "run_id": "$run"}),
        get("a version's presigned file", "/model-versions/get-artifact",
            {"name": "with files of 3.18", "version": "1", "path": "MLmodel", "presigned": "true"}),
    ),
)  # fmt: skip
DIALOGUES = (LOGGED_MODELS, EXPERIMENTS, NAMES, REGISTRY, ARTIFACTS)
