"""Registering, loading, copying, moving and deleting a real model, and prompts, as users do.

Runs under mlflow 2.22 and 3.17; MLFLOW_TRACKING_URI says where to. Prints its results without ids as JSON;
version numbers are text, because stores return numbers and servers return text.
"""

import json
import logging

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LinearRegression

IS_NEW = mlflow.__version__.startswith("3.")
if IS_NEW:
    from mlflow.entities import LoggedModelInput, LoggedModelOutput
X = np.array([[1.0], [2.0], [3.0]])
seen: dict[str, object] = {}
client = MlflowClient()
logging.disable()


def predicted(uri: str) -> list[float]:
    """The predictions of a model that is loaded by its URI."""
    return [round(float(value), 6) for value in mlflow.sklearn.load_model(uri).predict(X)]


def refusal(call, *args, **more) -> list[str]:
    """The error that a call ends in."""
    try:
        call(*args, **more)
    except MlflowException as error:
        return [error.error_code, error.message.split(":")[-1].strip().partition("'m-")[0]]
    return ["none", ""]


def registered() -> str:
    """Log a model with a registered name; load it by every kind of URI."""
    with mlflow.start_run() as run:
        place = {"name": "lr", "params": {"a": 1}} if IS_NEW else {"artifact_path": "lr"}
        info = mlflow.sklearn.log_model(
            LinearRegression().fit(X, 2 * X[:, 0]),
            registered_model_name="Model",
            pip_requirements=[],
            **place,
        )
        if IS_NEW:
            mlflow.log_metric("rmse", 0.1, model_id=info.model_id)
    client.set_registered_model_alias("Model", "champion", 1)
    client.transition_model_version_stage("Model", "1", "Production")
    suffixes = ("@champion", "/1", "/Production", "/latest")
    uris = [info.model_uri, *(f"models:/Model{suffix}" for suffix in suffixes)]
    seen["predictions"] = [predicted(uri) for uri in uris]
    seen["run of version 1"] = client.get_model_version("Model", "1").run_id == run.info.run_id
    again = mlflow.register_model(f"runs:/{run.info.run_id}/lr", "Model", tags={"by": "run"})
    seen["version 2"] = [str(again.version), again.tags, predicted("models:/Model/2")]
    return info.model_id if IS_NEW else ""


def copied() -> None:
    """Copy a version to another name, then change what can be changed."""
    copy = client.copy_model_version("models:/Model/1", "Copy")
    seen["copy"] = [str(copy.version), copy.source, predicted("models:/Copy/1")]
    client.update_registered_model("Copy", "text")
    client.set_registered_model_tag("Copy", "team", "x")
    client.set_registered_model_tag("Copy", "gone", "x")
    client.delete_registered_model_tag("Copy", "gone")
    client.update_model_version("Copy", "1", "text of the version")
    client.set_model_version_tag("Copy", "1", "k", "v")
    client.rename_registered_model("Copy", "Renamed")
    model = client.get_registered_model("Renamed")
    seen["renamed"] = [
        model.description,
        model.tags,
        [str(v.version) for v in model.latest_versions],
    ]
    version = client.get_model_version("Renamed", "1")
    seen["its version"] = [version.description, version.tags, version.current_stage]


def searched() -> None:
    """Search models and versions."""
    found = client.search_registered_models("name LIKE 'M%'", order_by=["name DESC"])
    seen["models"] = [
        (m.name, [*m.aliases], sorted(str(v.version) for v in m.latest_versions)) for m in found
    ]
    seen["tagged"] = [m.name for m in client.search_registered_models("tags.team = 'x'")]
    versions = client.search_model_versions("name = 'Model'", order_by=["version_number ASC"])
    seen["versions"] = [(str(v.version), v.current_stage, v.status) for v in versions]
    seen["by stage"] = [str(v.version) for v in client.get_latest_versions("Model", ["Production"])]


def deleted() -> None:
    """Delete aliases, versions and models."""
    client.delete_registered_model_alias("Model", "champion")
    seen["alias gone"] = refusal(client.get_model_version_by_alias, "Model", "champion")
    client.delete_model_version("Model", "1")
    seen["version gone"] = refusal(client.get_model_version, "Model", "1")
    client.delete_registered_model("Model")
    seen["model gone"] = refusal(client.get_registered_model, "Model")


def prompted() -> None:
    """Register, load, tag, alias and find prompts."""
    prompts = mlflow.genai if IS_NEW else mlflow
    first = prompts.register_prompt("greet", "Hi {{name}}", commit_message="one", tags={"a": "b"})
    second = prompts.register_prompt("greet", "Hello {{name}}, how is {{friend}}?")
    prompts.set_prompt_alias("greet", "prod", 1)
    loaded = prompts.load_prompt("prompts:/greet@prod")
    seen["prompts"] = [
        int(first.version),
        int(second.version),
        sorted(second.variables),
        loaded.format(name="Ann"),
        prompts.load_prompt("prompts:/greet/2").template,
    ]
    prompts.delete_prompt_alias("greet", "prod")
    seen["no prompts among models"] = [m.name for m in client.search_registered_models()]
    seen["name taken"] = refusal(client.create_registered_model, "greet")[0]
    if IS_NEW:
        prompts.set_prompt_tag("greet", "k", "v")
        prompts.set_prompt_version_tag("greet", 1, "k", "v")
        seen["tag of a prompt"] = prompts.get_prompt_tags("greet").get("k")
        seen["found"] = [p.name for p in prompts.search_prompts("name LIKE 'gr%'")]
        seen["latest"] = prompts.load_prompt("prompts:/greet@latest").version
        seen["no such prompt"] = prompts.load_prompt("nobody", version=1, allow_missing=True)


def logged(model_id: str) -> None:
    """The data of a model in mlflow 3 besides its registration."""
    model = mlflow.get_logged_model(model_id)
    noted = json.loads(model.tags["mlflow.modelVersions"])
    seen["logged"] = [
        model.name,
        model.params,
        [(m.key, m.value) for m in model.metrics],
        str(model.status),
        sorted({(note["name"], str(note["version"])) for note in noted}),
    ]
    mlflow.set_logged_model_tags(model_id, {"a": "b", "c": "d"})
    mlflow.delete_logged_model_tag(model_id, "a")
    external = mlflow.create_external_model(name="elsewhere", params={"x": "1"})
    started = mlflow.initialize_logged_model(name="started")
    seen["finalized"] = str(mlflow.finalize_logged_model(started.model_id, "READY").status)
    experiments = [model.experiment_id]
    order = [{"field_name": "name", "ascending": True}]
    found = mlflow.search_logged_models(experiments, order_by=order, output_format="list")
    seen["logged models"] = [(m.name, str(m.status), m.tags.get("c")) for m in found]
    best = mlflow.search_logged_models(experiments, "metrics.rmse < 1", output_format="list")
    seen["by metric"] = [m.name for m in best]
    measured(experiments)
    client.delete_logged_model(external.model_id)
    seen["deleted"] = refusal(client.get_logged_model, external.model_id)


def measured(experiments: list[str]) -> None:
    """Models that are outputs of one run and inputs of others, sorted by a metric on a dataset."""
    data = [mlflow.data.from_numpy(X, name=name) for name in ("train", "test")]
    models = [mlflow.initialize_logged_model(name=f"rival {number}") for number in range(3)]
    for number, model in enumerate(models):
        mlflow.finalize_logged_model(model.model_id, "READY")
        with mlflow.start_run(run_name=f"evaluation {number}") as run:
            mlflow.log_inputs(datasets=data, contexts=["a", "b"], tags_list=[None, None])
            client.log_inputs(run.info.run_id, models=[LoggedModelInput(model.model_id)])
            mlflow.log_outputs(models=[LoggedModelOutput(model.model_id, step=number)])
            for one, value in zip(data, (number, 10 - number), strict=True):
                mlflow.log_metric("error", value, model_id=model.model_id, dataset=one)
        found = client.get_run(run.info.run_id)
        seen[f"models of evaluation {number}"] = [
            [m.model_id == model.model_id for m in found.inputs.model_inputs],
            [(m.model_id == model.model_id, m.step) for m in found.outputs.model_outputs],
            sorted(
                (d.dataset.name, [t.value for t in d.tags]) for d in found.inputs.dataset_inputs
            ),
        ]
    for name in ("train", "test"):
        for ascending in (True, False):
            order = {"field_name": "metrics.error", "ascending": ascending, "dataset_name": name}
            ranked = mlflow.search_logged_models(
                experiments, "name LIKE 'rival%'", order_by=[order], output_format="list"
            )
            seen[f"by error on {name}, {ascending}"] = [m.name for m in ranked]
    chosen = mlflow.search_logged_models(
        experiments,
        "metrics.error > 8",
        # Stock's server, unlike its store, takes a dataset without a digest for one that has none.
        datasets=[{"dataset_name": "test", "dataset_digest": data[1].digest}],
        output_format="list",
    )
    seen["large error on test"] = sorted(m.name for m in chosen)


def hooked() -> None:
    """Webhooks; none of them is called, because their addresses are on the internet."""
    events = ["registered_model.created", "model_version_tag.set"]
    made = client.create_webhook("hook", "https://8.8.8.8/x", events, description="d", secret="s")
    changed = client.update_webhook(made.webhook_id, status="DISABLED", events=["prompt.created"])
    seen["webhook"] = [made.name, made.url, made.description, str(made.status)]
    seen["its events"] = [sorted(str(e) for e in one.events) for one in (made, changed)]
    seen["webhooks"] = [(w.name, str(w.status)) for w in client.list_webhooks()]
    seen["refused webhook"] = refusal(client.create_webhook, "x", "https://127.0.0.1/x", events)
    client.delete_webhook(made.webhook_id)
    seen["webhook gone"] = refusal(client.get_webhook, made.webhook_id)[0]


def main() -> None:
    """Run all steps and print their results."""
    mlflow.set_experiment("models")
    model_id = registered()
    copied()
    searched()
    if IS_NEW:
        logged(model_id)
        hooked()
    prompted()
    deleted()
    print(json.dumps(seen))  # noqa: T201 what the test reads


main()
