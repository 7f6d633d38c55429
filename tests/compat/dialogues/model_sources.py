"""The sources of model versions, and prompts, which have none."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, experiment, get, post, run
from tests.compat.dialogues.registered_models import model, shown, version

PLAIN = {
    "s3": "s3://bucket/path/to/model",
    "s3 with a trailing slash": "s3://bucket/path/",
    "s3 with doubled slashes": "s3://bucket//path//x",
    "s3 with a query": "s3://bucket/path?x=1",
    "s3 with a fragment": "s3://bucket/path#x",
    "s3 with a percent": "s3://bucket/a%20b",
    "s3 with unicode": "s3://bucket/é",
    "gs": "gs://bucket/path",
    "wasbs": "wasbs://c@a.blob.core.windows.net/path",
    "dbfs": "dbfs:/path",
    "upper case": "S3://Bucket/Path",
    "unknown scheme": "foo://host/path",
    "prompt placeholder": "dummy-source",
}
REFUSED = {
    "http": "http://host/x",
    "https": "https://host/x",
    "ftp": "ftp://host/x",
    "sftp": "sftp://host/x",
    "hdfs": "hdfs://host/x",
    "abfss": "abfss://c@a.dfs.core.windows.net/x",
    "proxy with a host": "mlflow-artifacts://host:80/x",
    "only a bucket": "s3://bucket",
    "only a bucket and a slash": "s3://bucket/",
    "relative": "some/path",
    "s3 without slashes": "s3:path",
    "climbing": "s3://bucket/a/../../b",
    "climbing at the end": "s3://bucket/a/..",
    "a dot": "s3://bucket/a/./b",
    "encoded climbing": "s3://bucket/a/%2e%2e/b",
    "twice encoded climbing": "s3://bucket/a/%252e%252e/b",
    "encoded slash": "s3://bucket/..%2f..%2fb",
    "encoded NUL": "s3://bucket/a%00",
    "plus": "s3://bucket/a+b/../c",
    "absolute local": "/etc/passwd",
    "file": "file:///etc/passwd",
    "file without slashes": "file:etc/passwd",
    "file on localhost": "file://localhost/etc/passwd",
    "local root": "/",
    "blank": " ",
    "proxy": "mlflow-artifacts:/1/x/artifacts",
    "proxy climbing": "mlflow-artifacts:/1/../2",
    "proxy relative": "mlflow-artifacts:x",
    "runs": "runs:/00000000000000000000000000000000/model",
    "runs with a host": "runs://host/00000000000000000000000000000000/model",
    "runs alone": "runs:/",
    "broken host": "s3://[bucket/x",
    "models alone": "models:/",
    "models relative": "models:x/1",
    "models with a host": "models://host/x/1",
    "models with three parts": "models:/a/b/c",
    "models without version": "models:/a/",
    "models without name": "models://1",
    "models with blank name": "models:/ /1",
    "models with empty alias": "models:/a@",
    "models of unknown model": "models:/nobody/1",
    "models of unknown alias": "models:/nobody@x",
    "models of unknown stage": "models:/nobody/Production",
    "logged model": "models:/m-00000000000000000000000000000000",
}


def sourced(label: str, source: str, **more: Any) -> Ask:
    """Create a version from a source."""
    return version(label, source=source, **more)


SOURCES = Dialogue(
    "sources of model versions",
    (
        model(),
        *(sourced(f"plain: {label}", source) for label, source in PLAIN.items()),
        *(sourced(f"refused: {label}", source) for label, source in REFUSED.items()),
        sourced("file on another host", "file://host/x"),
        sourced("refused with an unknown run", "/etc/passwd", run_id="0" * 32),
        sourced("proxy with an unknown run", "mlflow-artifacts:/1/x", run_id="0" * 32),
        sourced("plain with an unknown run", "s3://bucket/x", run_id="0" * 32),
        sourced("local with an unknown model", "/etc/passwd", model_id="m-0"),
        sourced("proxy with an unknown model", "mlflow-artifacts:/1/x", model_id="m-0"),
        sourced("runs with a model", "runs:/0/x", model_id="m-0"),
        sourced("plain with an unknown model", "s3://bucket/x", model_id="m-0"),
        sourced("unknown logged model with itself", "models:/m-0", model_id="m-0"),
        sourced("unknown logged model with another", "models:/m-0", model_id="m-1"),
        sourced("unknown logged model with a run", "models:/m-0", run_id="0" * 32),
        # /proc/self is a link on the server's own disk. The last, as one of us makes a version.
        sourced("s3 with the name of a link", "s3://bucket/proc/self/x"),
    ),
)

OF_RUNS = Dialogue(
    "sources in artifacts of runs",
    (
        experiment(),
        run(),
        run("another run", keep="other"),
        model(),
        sourced("its artifacts", "mlflow-artifacts:/$exp/$run/artifacts/model", run_id="$run"),
        sourced("its root", "mlflow-artifacts:/$exp/$run/artifacts", run_id="$run"),
        sourced("its root with a slash", "mlflow-artifacts:/$exp/$run/artifacts/", run_id="$run"),
        sourced("doubled slashes", "mlflow-artifacts:/$exp//$run/artifacts//x", run_id="$run"),
        sourced("encoded", "mlflow-artifacts:/$exp/$run/%61rtifacts/x", run_id="$run"),
        sourced("upper case scheme", "MLFLOW-ARTIFACTS:/$exp/$run/artifacts/x", run_id="$run"),
        sourced("a longer name", "mlflow-artifacts:/$exp/$run/artifacts2", run_id="$run"),
        sourced("outside", "mlflow-artifacts:/$exp/$run", run_id="$run"),
        sourced("of another run", "mlflow-artifacts:/$exp/$other/artifacts", run_id="$run"),
        sourced("climbing", "mlflow-artifacts:/$exp/$run/artifacts/../../$other", run_id="$run"),
        sourced("without run", "mlflow-artifacts:/$exp/$run/artifacts/model"),
        sourced("runs URI", "runs:/$run/model", run_id="$run"),
        sourced("runs URI of the root", "runs:/$run", run_id="$run"),
        sourced("runs URI of another run", "runs:/$other/model", run_id="$run"),
        sourced("runs URI without run", "runs:/$run/model"),
        sourced("runs URI climbing", "runs:/$run/../$other", run_id="$run"),
        sourced("local path", "/tmp/x", run_id="$run"),
        post("delete the run", "runs/delete", {"run_id": "$run"}),
        sourced("of a deleted run", "mlflow-artifacts:/$exp/$run/artifacts/model", run_id="$run"),
        get(
            "uri of the first",
            "model-versions/get-download-uri",
            {"name": "$dialogue", "version": "1"},
        ),
        shown("the model"),
    ),
)

LOCAL = Dialogue(
    "sources on local disk",
    (
        post(
            "an experiment",
            "experiments/create",
            {"name": "$dialogue", "artifact_location": "/tmp/headrace-compat"},
            keep={"exp": "experiment_id"},
        ),
        run(),
        model(),
        sourced("its artifacts", "/tmp/headrace-compat/$run/artifacts/model", run_id="$run"),
        sourced("as file URI", "file:///tmp/headrace-compat/$run/artifacts/model", run_id="$run"),
        sourced("its root", "/tmp/headrace-compat/$run/artifacts", run_id="$run"),
        sourced("a longer name", "/tmp/headrace-compat/$run/artifacts2", run_id="$run"),
        sourced("outside", "/tmp/headrace-compat/$run", run_id="$run"),
        sourced("climbing", "/tmp/headrace-compat/$run/artifacts/../../x", run_id="$run"),
        sourced("climbing inside", "/tmp/headrace-compat/$run/artifacts/a/../b", run_id="$run"),
        sourced("encoded climbing", "/tmp/headrace-compat/$run/artifacts/%2e%2e/x", run_id="$run"),
        sourced("relative", "artifacts/model", run_id="$run"),
        sourced("without run", "/tmp/headrace-compat/$run/artifacts/model"),
        sourced("NUL", "/tmp/headrace-compat/$run/artifacts/a\x00b", run_id="$run"),
        post(
            "a logged model",
            "logged-models",
            {"experiment_id": "$exp", "name": "m"},
            keep={"logged": "model.info.model_id"},
        ),
        sourced(
            "of the logged model",
            "/tmp/headrace-compat/models/$logged/artifacts/x",
            model_id="$logged",
        ),
        sourced(
            "of the run, with model", "/tmp/headrace-compat/$run/artifacts/x", model_id="$logged"
        ),
        sourced(
            "model wins over run",
            "/tmp/headrace-compat/$run/artifacts/x",
            model_id="$logged",
            run_id="$run",
        ),
    ),
)

OF_MODELS = Dialogue(
    "sources that are models",
    (
        experiment(),
        run(),
        post(
            "a logged model",
            "logged-models",
            {"experiment_id": "$exp", "name": "m", "source_run_id": "$run"},
            keep={"logged": "model.info.model_id"},
        ),
        post(
            "a logged model without run",
            "logged-models",
            {"experiment_id": "$exp", "name": "free"},
            keep={"free": "model.info.model_id"},
        ),
        model(),
        sourced("logged model", "models:/$logged", model_id="$logged"),
        sourced("logged model without run", "models:/$free", model_id="$free"),
        sourced(
            "logged model, another run", "models:/$logged", model_id="$logged", run_id="0" * 32
        ),
        sourced("logged model, not named", "models:/$logged"),
        sourced("logged model, another named", "models:/$logged", model_id="$free"),
        sourced(
            "its artifacts", "mlflow-artifacts:/$exp/models/$logged/artifacts", model_id="$logged"
        ),
        sourced(
            "below its artifacts",
            "mlflow-artifacts:/$exp/models/$logged/artifacts/x",
            model_id="$logged",
        ),
        sourced("of another", "mlflow-artifacts:/$exp/models/$free/artifacts", model_id="$logged"),
        sourced("plain with a logged model", "s3://bucket/x", model_id="$logged"),
        get("its versions are noted", "/api/2.0/mlflow/logged-models/$logged"),
        get(
            "uri of the first",
            "model-versions/get-download-uri",
            {"name": "$dialogue", "version": "1"},
        ),
        model("a copy", "$dialogue copy"),
        version("copy of version 1", "$dialogue copy", source="models:/$dialogue/1"),
        version("copy of the copy", "$dialogue copy", source="models:/$dialogue copy/1"),
        get(
            "uri of the copy",
            "model-versions/get-download-uri",
            {"name": "$dialogue copy", "version": "2"},
        ),
        version("copy of latest", "$dialogue copy", source="models:/$dialogue/latest"),
        version("copy of LATEST", "$dialogue copy", source="models:/$dialogue/LATEST"),
        version("copy of a stage", "$dialogue copy", source="models:/$dialogue/none"),
        version("copy of an empty stage", "$dialogue copy", source="models:/$dialogue/Production"),
        version("copy of a bad stage", "$dialogue copy", source="models:/$dialogue/bogus"),
        post(
            "alias", "registered-models/alias", {"name": "$dialogue", "alias": "a", "version": "2"}
        ),
        version("copy of an alias", "$dialogue copy", source="models:/$dialogue@a"),
        version("copy of unknown alias", "$dialogue copy", source="models:/$dialogue@b"),
        version("copy of bad alias", "$dialogue copy", source="models:/$dialogue@b.c"),
        version("copy of unknown version", "$dialogue copy", source="models:/$dialogue/99"),
        version("copy with its run", "$dialogue copy", source="models:/$dialogue/1", run_id="$run"),
        version(
            "copy with another run", "$dialogue copy", source="models:/$dialogue/1", run_id="0" * 32
        ),
        version(
            "copy with an empty run", "$dialogue copy", source="models:/$dialogue/1", run_id=""
        ),
        version(
            "copy with a model", "$dialogue copy", source="models:/$dialogue/1", model_id="$logged"
        ),
        version(
            "copy with an empty model", "$dialogue copy", source="models:/$dialogue/1", model_id=""
        ),
        delete("delete version 1", "model-versions/delete", {"name": "$dialogue", "version": "1"}),
        version("copy of the deleted", "$dialogue copy", source="models:/$dialogue/1"),
        delete("delete the logged model", "/api/2.0/mlflow/logged-models/$logged"),
        sourced("deleted logged model", "models:/$logged", model_id="$logged"),
        sourced(
            "artifacts of a deleted one",
            "mlflow-artifacts:/$exp/models/$logged/artifacts",
            model_id="$logged",
        ),
        shown("the model"),
        shown("the copy", "$dialogue copy"),
    ),
)

IS_PROMPT = {"key": "mlflow.prompt.is_prompt", "value": "true"}


def text(value: str) -> dict[str, str]:
    """The tag that holds a prompt's text."""
    return {"key": "mlflow.prompt.text", "value": value}


def prompt_version(label: str, name: str = "$dialogue", **more: Any) -> Ask:
    """Create a version of a prompt."""
    body = {"name": name, "source": "dummy-source", "tags": [IS_PROMPT, text("Hi {{name}}")]}
    return post(label, "model-versions/create", body | more)


def found(label: str, kind: str, filter: str) -> Ask:
    """Search models or versions."""
    lists = ("latest_versions", "tags", "aliases")
    query = {"filter": filter} if filter else {}
    return get(label, f"{kind}/search", query, unordered=lists)


OF_PROMPTS = "tags.`mlflow.prompt.is_prompt`"
PROMPTS = Dialogue(
    "prompts",
    (
        model("a prompt", tags=[IS_PROMPT]),
        model("a prompt with tags", "$dialogue 2", tags=[IS_PROMPT, {"key": "team", "value": "x"}]),
        model("a model", "$dialogue model", tags=[{"key": "team", "value": "x"}]),
        model("no prompt", "$dialogue no", tags=[IS_PROMPT | {"value": "false"}]),
        model("shouting prompt", "$dialogue shout", tags=[IS_PROMPT | {"value": "TRUE"}]),
        model("model with the name of a prompt"),
        model("prompt with the name of a prompt", tags=[IS_PROMPT]),
        model("prompt with the name of a model", "$dialogue model", tags=[IS_PROMPT]),
        model(
            "no prompt with the name of a model",
            "$dialogue model",
            tags=[IS_PROMPT | {"value": "no"}],
        ),
        prompt_version("a version"),
        prompt_version("a version with a message", description="message"),
        prompt_version("the other placeholder", source="prompt-template"),
        prompt_version("another source", source="s3://bucket/x"),
        prompt_version("source is a model", source="models:/$dialogue/1"),
        prompt_version("without text", tags=[IS_PROMPT]),
        prompt_version("text of 100000", tags=[IS_PROMPT, text("x" * 100_000)]),
        prompt_version("text of 100001", tags=[IS_PROMPT, text("x" * 100_001)]),
        prompt_version("not a prompt", tags=[IS_PROMPT | {"value": "false"}]),
        prompt_version("with a run and model", run_id="0" * 32, model_id="m-0"),
        prompt_version("version of a model", "$dialogue model"),
        prompt_version("of the shouting prompt", "$dialogue shout"),
        version("a model's version from a prompt", "$dialogue model", source="models:/$dialogue/1"),
        version("a version of the model", "$dialogue model"),
        shown("get it"),
        get(
            "get version 2",
            "model-versions/get",
            {"name": "$dialogue", "version": "2"},
            unordered=("tags",),
        ),
        post(
            "alias", "registered-models/alias", {"name": "$dialogue", "alias": "a", "version": "1"}
        ),
        get(
            "by alias",
            "registered-models/alias",
            {"name": "$dialogue", "alias": "a"},
            unordered=("tags",),
        ),
        get(
            "latest",
            "registered-models/alias",
            {"name": "$dialogue", "alias": "latest"},
            unordered=("tags",),
        ),
        *(
            found(f"{kind}: {label}", kind, f"{text}name LIKE '$dialogue%'")
            for kind in ("registered-models", "model-versions")
            for label, text in {
                "models only": "",
                "prompts only": f"{OF_PROMPTS} = 'true' AND ",
                "true in other case": f"{OF_PROMPTS} = 'True' AND ",
                "not false": f"{OF_PROMPTS} != 'false' AND ",
                "not true": f"{OF_PROMPTS} != 'true' AND ",
                "false": f"{OF_PROMPTS} = 'false' AND ",
                "like true": f"{OF_PROMPTS} LIKE 'true' AND ",
                "twice": f"{OF_PROMPTS} = 'false' AND {OF_PROMPTS} = 'true' AND ",
                "prompts with a tag": f"{OF_PROMPTS} = 'true' AND tags.team = 'x' AND ",
                "models with a tag": "tags.team = 'x' AND ",
            }.items()
        ),
    ),
)

DIALOGUES = (SOURCES, OF_RUNS, LOCAL, OF_MODELS, PROMPTS)
