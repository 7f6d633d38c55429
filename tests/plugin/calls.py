"""Calls of MLflow's Python API on one database; prints the result or exception of each as JSON.

    python -m tests.plugin.calls URI on|off

Runs under any generation of mlflow. Values that differ between two runs (ids, clock, random names) are
numbered or left out, so two outputs can be compared word by word.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("PYTEST_CURRENT_TEST", None)
HEX = re.compile(r"\b[0-9a-f]{32}\b")
CLOCK = ("_creation_time", "_last_update_time", "_creation_timestamp", "_last_updated_timestamp")
UNORDERED = (
    "_metric_objs",
    "_dataset_inputs",
    "_latest_version",
)  # neither store guarantees an order
# A driver's message; the text before it is compared. headrace looks a logged model up and has its own message.
DRIVER = re.compile(
    r"(\((?:sqlite3|psycopg2?|asyncpg)[\w.]*\)|Error: ).*|^Logged model with ID '[^']*' not found\.$",
    re.DOTALL,
)
SET = re.compile(r"\{('[^{}:]*')\}")  # the order of a set is random
NOW = 1_700_000_000_000


class Client:
    """An MlflowClient; a method that its generation does not have raises when it is called."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name, partial(self._missing, name))

    @staticmethod
    def _missing(name: str, *_: object, **__: object) -> None:
        raise NotImplementedError(name)


class Player:
    """Plays calls and records their outcomes."""

    def __init__(self, uri: str) -> None:
        import mlflow

        self.client = Client(mlflow.MlflowClient(uri))
        self.outcomes: list[Any] = []
        self.ids: dict[str, str] = {}

    def number(self, text: str) -> str:
        return HEX.sub(lambda m: self.ids.setdefault(m[0], f"<id {len(self.ids)}>"), text)

    def show(self, value: Any, name: str = "") -> Any:
        if name in CLOCK:
            return value is not None
        if isinstance(value, float) and not math.isfinite(value):
            return repr(value)
        if isinstance(value, str):
            return self.number(value)
        if isinstance(value, bytes):
            return repr(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {self.number(str(k)): self.show(v) for k, v in sorted(value.items())}
        if isinstance(value, list | tuple):
            shown = [self.show(item) for item in value]
            if name in UNORDERED:
                shown.sort(key=repr)
            token = getattr(value, "token", None)
            return [*shown, {"token": self.show(token)}] if token else shown
        if not hasattr(value, "__dict__"):  # a list of protobuf's
            return [self.show(item) for item in value]
        return {type(value).__name__: {k: self.show(v, k) for k, v in sorted(vars(value).items())}}

    def play(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            result = call(*args, **kwargs)
        except MlflowException as error:
            text = DRIVER.sub("<driver>", self.number(error.message))
            text = SET.sub(lambda m: str(sorted(m[1].split(", "))), text)
            self.outcomes.append([name, type(error).__name__, error.error_code, text])
            return None
        except Exception as error:  # noqa: BLE001 whatever it is, it is compared
            self.outcomes.append([name, type(error).__name__, self.number(str(error))])
            return None
        self.outcomes.append([name, self.show(result)])
        return result


def experiments(p: Player) -> str:
    c = p.client
    first = p.play("create", c.create_experiment, "one", "s3://bucket/one", {"k": "v", "e": ""})
    p.play("create with the default location", c.create_experiment, "two")
    p.play("create again", c.create_experiment, "one")
    for name in ("", None, 5, "x" * 501):
        p.play("create badly", c.create_experiment, name)
    for number in (first, "0", 0, "999", "abc", None, "", 1.5):
        p.play(f"get {number!r}", c.get_experiment, number)
    for name in ("one", "none", "", None):
        p.play(f"by name {name!r}", c.get_experiment_by_name, name)
    p.play("tag", c.set_experiment_tag, first, "team", "blue")
    p.play("tag again", c.set_experiment_tag, first, "team", "red")
    p.play("tag with a number", c.set_experiment_tag, first, "n", 5)
    for key in ("bad\nkey", "", "../x", "x" * 251, None):
        p.play("tag badly", c.set_experiment_tag, first, key, "v")
    p.play("tag long", c.set_experiment_tag, first, "k", "v" * 20_001)
    p.play("untag", c.delete_experiment_tag, first, "k")
    p.play("untag again", c.delete_experiment_tag, first, "k")
    p.play("rename", c.rename_experiment, first, "uno")
    p.play("rename to a taken name", c.rename_experiment, first, "two")
    p.play("rename to nothing", c.rename_experiment, first, "")
    p.play("get renamed", c.get_experiment, first)
    for n in range(5):
        p.play("more", c.create_experiment, f"more {n}", None, {"n": str(n)})
    token = p.play("search", c.search_experiments, max_results=3, order_by=["name"])
    token = token.token if token else None
    p.play("next page", c.search_experiments, max_results=3, order_by=["name"], page_token=token)
    p.play("filter", c.search_experiments, filter_string="tags.n = '2' AND name LIKE 'more%'")
    p.play("filter badly", c.search_experiments, filter_string="nonsense ==")
    p.play("filter worse", c.search_experiments, filter_string="flavour = 'x'")
    p.play("order badly", c.search_experiments, order_by=["flavour"])
    for limit in (0, -1, 50_001, "3", None):
        p.play(f"limit {limit!r}", c.search_experiments, max_results=limit, order_by=["name"])
    p.play("bad token", c.search_experiments, page_token="%%%")
    p.play("delete", c.delete_experiment, "2")
    p.play("delete again", c.delete_experiment, "2")
    p.play("rename deleted", c.rename_experiment, "2", "zwei")
    p.play("tag deleted", c.set_experiment_tag, "2", "a", "b")
    p.play("deleted", c.search_experiments, view_type=2)
    p.play("run in deleted", c.create_run, "2", NOW)
    p.play("restore", c.restore_experiment, "2")
    p.play("restore again", c.restore_experiment, "2")
    return str(first)


def runs(p: Player, experiment: str) -> str:
    from mlflow.entities import RunStatus

    c = p.client
    run = p.play("create run", c.create_run, experiment, NOW, {"a": "1", "e": ""}, "named")
    run_id = run.info.run_id
    p.play("named by tag", c.create_run, experiment, NOW + 1, {"mlflow.runName": "tagged"})
    p.play("two names", c.create_run, experiment, NOW, {"mlflow.runName": "x"}, "y")
    p.play("in no experiment", c.create_run, "999", NOW, None, "n")
    p.play("in a wrong experiment", c.create_run, "abc", NOW, None, "n")
    p.play("no experiment", c.create_run, None, NOW, None, "n")
    p.play("tag of a number", c.create_run, experiment, NOW, {"n": 5}, "numbers")
    for other in ("0" * 32, "", None, 5):
        p.play(f"get {other!r}", c.get_run, other)
    p.play("get", c.get_run, run_id)
    p.play("update", c.update_run, run_id, "FINISHED", "renamed")
    p.play("get updated", c.get_run, run_id)
    p.play("update nothing", c.update_run, run_id)
    p.play("update badly", c.update_run, run_id, "WRONG")
    p.play("end", c.set_terminated, run_id, RunStatus.to_string(RunStatus.FAILED), NOW + 99)
    p.play("get ended", c.get_run, run_id)
    p.play("update none", c.update_run, "0" * 32, "FINISHED")
    p.play("delete", c.delete_run, run_id)
    p.play("delete again", c.delete_run, run_id)
    p.play("log to deleted", c.log_metric, run_id, "m", 1.0, NOW)
    p.play("tag deleted", c.set_tag, run_id, "t", "v")
    p.play("update deleted", c.update_run, run_id, "FINISHED")
    p.play("get deleted", c.get_run, run_id)
    p.play("delete none", c.delete_run, "0" * 32)
    p.play("restore", c.restore_run, run_id)
    p.play("restore none", c.restore_run, "0" * 32)
    return str(run_id)


def history(client: Client, run_id: str, key: str) -> Any:
    """The points of one moment: mlflow 2 guarantees no order of them."""
    from mlflow.version import VERSION

    found = client.get_metric_history(run_id, key)
    return sorted(found, key=lambda point: repr(point.value)) if VERSION < "3" else found


def logging(p: Player, run_id: str) -> None:
    from mlflow.entities import Metric, Param, RunTag

    c = p.client
    for value in (1, 2.5, float("nan"), float("inf"), -float("inf"), 1e308, True, "3", None, "x"):
        p.play(f"metric {value!r}", c.log_metric, run_id, "loss", value, NOW, 1)
    for key in ("bad\nkey", "", "../x", "a//b", "x" * 251, None, 5, "ü"):
        p.play(f"metric key {str(key)[:9]!r}", c.log_metric, run_id, key, 1.0, NOW, 1)
    for time, step in (  # those with a fraction differ: test_steps.py
        (-1, 0),
        (NOW, -5),
        ("1", 0),
        (2**63, 0),
        (NOW, 2**63),
    ):
        p.play(f"metric at {time} {step}", c.log_metric, run_id, "at", 1.0, time, step)
    p.play("metric of none", c.log_metric, "0" * 32, "m", 1.0, NOW, 0)
    for value in ("v", "v", "w", 5, None, "", "l" * 6001):
        p.play(f"param {str(value)[:9]!r}", c.log_param, run_id, "p", value)
    p.play("param long", c.log_param, run_id, "long", "l" * 6001)
    for key in ("bad\nkey", "", "../x", "x" * 251, None):
        p.play(f"param key {str(key)[:9]!r}", c.log_param, run_id, key, "v")
    for value in ("v", "", 5, None, "l" * 8001):
        p.play(f"tag {str(value)[:9]!r}", c.set_tag, run_id, "t", value)
    p.play("name tag", c.set_tag, run_id, "mlflow.runName", "by tag")
    p.play("empty name tag", c.set_tag, run_id, "mlflow.runName", "")
    p.play("get", c.get_run, run_id)
    p.play("untag", c.delete_tag, run_id, "t")
    p.play("untag again", c.delete_tag, run_id, "t")
    p.play("untag none", c.delete_tag, "0" * 32, "t")
    metrics = [Metric(f"m{n % 3}", float(n), NOW + n, n) for n in range(30)]
    params = [Param(f"p{n}", str(n)) for n in range(20)]
    tags = [RunTag(f"t{n}", str(n)) for n in range(20)]
    p.play("batch", c.log_batch, run_id, metrics, params, tags)
    p.play("batch again", c.log_batch, run_id, metrics, params, tags)
    p.play("batch of nothing", c.log_batch, run_id)
    p.play("batch of nothing for none", c.log_batch, "0" * 32)
    p.play("batch for a wrong id", c.log_batch, "no/run", metrics)
    p.play("changed params", c.log_batch, run_id, [], [Param("p1", "x"), Param("p2", "2")], [])
    p.play("param twice", c.log_batch, run_id, [], [Param("q", "1"), Param("q", "1")], [])
    p.play("too many params", c.log_batch, run_id, [], [Param(f"z{n}", "") for n in range(101)])
    p.play("too many tags", c.log_batch, run_id, [], [], [RunTag(f"z{n}", "") for n in range(101)])
    p.play("bad metric", c.log_batch, run_id, [Metric("x", 1.0, NOW, 0), Metric("a\nb", 1, 1, 1)])
    p.play("param of a number", c.log_batch, run_id, [], [Param("num", 5)], [RunTag("num", 6)])
    p.play("get after batches", c.get_run, run_id)
    p.play("history", c.get_metric_history, run_id, "m1")
    p.play("history of losses", partial(history, c), run_id, "loss")
    p.play("history of nothing", c.get_metric_history, run_id, "none")
    store = c._tracking_client.store
    page = p.play("page", store.get_metric_history, run_id, "m1", max_results=4)
    p.play("next", store.get_metric_history, run_id, "m1", 4, getattr(page, "token", None))
    p.play("bad page", store.get_metric_history, run_id, "m1", 4, "%%%")
    p.play("no page", store.get_metric_history, run_id, "m1", 0)


def inputs(p: Player, run_id: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    c = p.client
    one = DatasetInput(Dataset("d", "1", "local", "{}", "s", None), [InputTag("context", "train")])
    two = DatasetInput(Dataset("e", "2", "local", "{}"), [])
    p.play("inputs", c.log_inputs, run_id, [one, two])
    p.play("inputs again", c.log_inputs, run_id, [one])
    untold = DatasetInput(one.dataset, [InputTag("mlflow.data.context", None)])
    p.play("inputs with a tag that has no value", c.log_inputs, run_id, [untold])
    p.play("inputs of none", c.log_inputs, "0" * 32, [one])
    p.play(
        "bad inputs", c.log_inputs, run_id, [DatasetInput(Dataset("n" * 501, "1", "l", "{}"), [])]
    )
    p.play("get with inputs", c.get_run, run_id)
    p.play("filter", c.search_runs, ["1", "3"], "dataset.name = 'd'")


def searches(p: Player, experiment: str) -> None:
    c = p.client
    for n in range(12):
        run = c.create_run(experiment, NOW + n, {"group": str(n % 3)}, f"run {n:02}")
        c.log_metric(run.info.run_id, "acc", n / 10, NOW, 0)
        c.log_param(run.info.run_id, "lr", str(n))
    order = ["attributes.start_time DESC", "attributes.run_name"]
    page = p.play("search", c.search_runs, [experiment], "", 1, 5, order)
    p.play("next", c.search_runs, [experiment], "", 1, 5, order, getattr(page, "token", None))
    for text in (
        "metrics.acc > 0.5", "params.lr = '3'", "tags.group = '1' AND metrics.acc < 0.9",
        "attributes.run_name LIKE 'run 0%'", "metrics.acc > 'x'", "nonsense", "params.lr > 3",
        "run_id IN ('a', 'b')", "status = 'RUNNING'",
    ):  # fmt: skip
        p.play(f"filter {text}", c.search_runs, [experiment], text, order_by=order)
    by_metric = ["metrics.acc ASC"]
    p.play("order by metric", c.search_runs, [experiment], "metrics.acc >= 0", order_by=by_metric)
    p.play("order badly", c.search_runs, [experiment], order_by=["foo"])
    p.play("nowhere", c.search_runs, [])
    p.play("wrong experiment", c.search_runs, ["abc"])
    for limit in (0, -1, 50_001, "3"):
        p.play(f"limit {limit!r}", c.search_runs, [experiment], max_results=limit)
    p.play("deleted only", c.search_runs, [experiment], "", 2)
    p.play("bad token", c.search_runs, [experiment], page_token="%%%")


def registry(p: Player) -> None:
    c = p.client
    p.play("create model", c.create_registered_model, "m", {"a": "b"}, "about m")
    p.play("create model again", c.create_registered_model, "m")
    for n in range(3):
        p.play("version", c.create_model_version, "m", f"s3://b/{n}", tags={"n": str(n)})
    p.play("get model", c.get_registered_model, "m")
    for name in ("none", "", None, "a/b", 5):
        p.play(f"get model {name!r}", c.get_registered_model, name)
    # A larger number than the column's: not found by headrace, a driver's error in stock on PostgreSQL.
    for version in ("1", 1, "9", "x", None, 2**31 - 1):
        p.play(f"get version {version!r}", c.get_model_version, "m", version)
    p.play("alias", c.set_registered_model_alias, "m", "best", "2")
    p.play("alias moves", c.set_registered_model_alias, "m", "best", 3)
    for alias in ("latest", "v1", "bad alias", "", None):
        p.play(f"alias {alias!r}", c.set_registered_model_alias, "m", alias, "1")
    for alias in ("best", "latest", "none", "bad alias", ""):
        p.play(f"by alias {alias!r}", c.get_model_version_by_alias, "m", alias)
    p.play("alias of none", c.set_registered_model_alias, "m", "x", "9")
    p.play("tag model", c.set_registered_model_tag, "m", "k", "v")
    p.play("tag model badly", c.set_registered_model_tag, "m", "bad\nkey", "v")
    p.play("tag model long", c.set_registered_model_tag, "m", "k", "v" * 100_001)
    p.play("tag version", c.set_model_version_tag, "m", "1", "k", "v")
    p.play("tag version of none", c.set_model_version_tag, "m", "9", "k", "v")
    p.play("untag version", c.delete_model_version_tag, "m", "1", "k")
    p.play("untag model", c.delete_registered_model_tag, "m", "k")
    p.play("untag none", c.delete_registered_model_tag, "none", "k")
    p.play("stage", c.transition_model_version_stage, "m", "1", "Staging")
    p.play("latest", c.get_latest_versions, "m")
    p.play("latest of a stage", c.get_latest_versions, "m", ["Staging"])
    p.play("latest of a wrong stage", c.get_latest_versions, "m", ["Wrong"])
    p.play("download", c.get_model_version_download_uri, "m", "1")
    p.play("get staged", c.get_registered_model, "m")
    p.play("search versions", c.search_model_versions, "name='m'", order_by=["version_number ASC"])
    p.play("search versions badly", c.search_model_versions, "flavour='m'")
    p.play("search models", c.search_registered_models, "name LIKE 'm%'")
    p.play("search models badly", c.search_registered_models, "flavour='m'")
    p.play("limit", c.search_registered_models, max_results=0)
    p.play("limit of versions", c.search_model_versions, max_results=0)
    p.play("unalias", c.delete_registered_model_alias, "m", "best")
    p.play("unalias again", c.delete_registered_model_alias, "m", "best")
    p.play("delete version", c.delete_model_version, "m", "3")
    p.play("get deleted", c.get_model_version, "m", "3")
    p.play("delete model", c.delete_registered_model, "m")


def more_registry(p: Player) -> None:
    c = p.client
    for name in ("", None, "a/b", 5, "n" * 257):
        p.play(f"create model {str(name)[:5]!r}", c.create_registered_model, name)
    for tags in ({"bad\nkey": "v"}, {"k": "v" * 100_001}, {"n": 5}, {"e": ""}, {"k" * 251: "v"}):
        name = f"tagged {next(iter(tags))[:3]!r}"
        p.play(name, c.create_registered_model, name, tags)
    p.play("plain", c.create_registered_model, "plain")
    p.play("described", c.update_registered_model, "plain", "words")
    p.play("not described", c.update_registered_model, "plain", None)
    p.play("describe none", c.update_registered_model, "none", "words")
    p.play("prompt", c.create_registered_model, "prompt", {"mlflow.prompt.is_prompt": "true"})
    p.play("prompt as model", c.create_registered_model, "prompt")
    p.play("model as prompt", c.create_registered_model, "plain", {"mlflow.prompt.is_prompt": "1"})
    run = c.create_run("0", NOW, {}, "of a version")
    run_id = run.info.run_id
    full = {"run_id": run_id, "tags": {"a": "1", "e": ""}, "run_link": "l", "description": "d"}
    p.play("full version", c.create_model_version, "plain", "s3://b/1", **full)
    p.play("bare version", c.create_model_version, "plain", "s3://b/2")
    p.play("version of none", c.create_model_version, "none", "s3://b/2")
    for source in ("", None, "models:/plain/1", "models:/plain/9", "models:/none/1", "runs:/x/m"):
        p.play(f"version of {source!r}", c.create_model_version, "plain", source)
    for tags in ({"bad\nkey": "v"}, {"k": "v" * 100_001}, {"n": 5}):
        p.play("badly tagged version", c.create_model_version, "plain", "s3://b/3", tags=tags)
    p.play("copy", c.copy_model_version, "models:/plain/1", "copied")
    p.play("version described", c.update_model_version, "plain", "1", "words")
    p.play("version not described", c.update_model_version, "plain", "1")
    p.play("describe no version", c.update_model_version, "plain", "99", "words")
    for stage in ("staging", "Production", "none", "Wrong", "", None):
        p.play(f"to {stage}", c.transition_model_version_stage, "plain", "1", stage)
    p.play("to production", c.transition_model_version_stage, "plain", 2, "Production", True)
    p.play("archive the archived", c.transition_model_version_stage, "plain", 2, "Archived", True)
    p.play("stage of none", c.transition_model_version_stage, "plain", "99", "Staging")
    p.play("aliased", c.set_registered_model_alias, "plain", "best", "2")
    p.play("get staged", c.get_registered_model, "plain")
    p.play("renamed", c.rename_registered_model, "plain", "other")
    for old, new in (("other", "prompt"), ("other", ""), ("none", "x"), ("other", None)):
        p.play(f"rename {old} {new}", c.rename_registered_model, old, new)
    p.play("by alias", c.get_model_version_by_alias, "other", "best")
    p.play("delete aliased", c.delete_model_version, "other", "2")
    p.play("by lost alias", c.get_model_version_by_alias, "other", "best")
    p.play("delete deleted", c.delete_model_version, "other", "2")
    p.play("next number", c.create_model_version, "other", "s3://b/9")
    by_number = ["version_number DESC"]
    page = p.play("page", c.search_model_versions, "name='other'", 2, by_number)
    token = getattr(page, "token", None)
    p.play("next page", c.search_model_versions, "name='other'", 2, by_number, token)
    page = p.play("models", c.search_registered_models, None, 2, ["name DESC"])
    token = getattr(page, "token", None)
    p.play("next models", c.search_registered_models, None, 2, ["name DESC"], token)
    p.play("delete", c.delete_registered_model, "other")
    p.play("delete again", c.delete_registered_model, "other")


def logged_models(p: Player) -> None:
    from mlflow.entities import Metric

    c = p.client
    model = p.play("logged model", c.create_logged_model, "0", "lm", None, {"t": "v"}, {"p": "1"})
    run_id = c.create_run("0", NOW, {}, "with a model").info.run_id
    model_id = getattr(model, "model_id", None)
    for step, value in enumerate((0.5, float("nan"), float("inf")), start=5):
        p.play("of a model", c.log_metric, run_id, "acc", value, NOW, step, model_id=model_id)
    data = {"dataset_name": "d", "dataset_digest": "1"}
    p.play("of data", c.log_metric, run_id, "acc", 1, NOW, 2, model_id=model_id, **data)
    p.play("of half", c.log_metric, run_id, "acc", 1, NOW, 3, model_id=model_id, dataset_name="d")
    p.play("of no model", c.log_metric, run_id, "acc", 1, NOW, 4, model_id="m-" + "0" * 32)
    if model_id:
        points = [Metric(f"m{n}", n, NOW, n, model_id=model_id, **data) for n in range(3)]
        p.play("batch", c.log_batch, run_id, points)
        p.play(
            "version", c.create_model_version, "prompt", f"models:/{model_id}", model_id=model_id
        )
    p.play("finalized", c.finalize_logged_model, model_id, "READY")
    p.play("read back", c.get_logged_model, model_id)
    p.play("run with a model", c.get_run, run_id)
    p.play("histories", c.get_metric_history, run_id, "acc")


def orders(p: Player) -> None:
    """Searches over values that are missing, NaN and infinite, in several experiments."""
    c = p.client
    ids = [c.create_experiment(f"orders {n}") for n in range(2)]
    values = (1.0, float("nan"), None, float("inf"), -float("inf"), 1.0, None, 2.0)
    for n, value in enumerate(values):
        run = c.create_run(ids[n % 2], NOW + n // 2, {"odd": str(n % 2)}, f"run {n}")
        if value is not None:
            c.log_metric(run.info.run_id, "m", value, NOW, 0)
        if n % 3:
            c.log_param(run.info.run_id, "P", str(value))
        c.set_terminated(run.info.run_id, ("FINISHED", "KILLED")[n % 2], NOW + n)
        if n == 7:
            c.delete_run(run.info.run_id)
    last = "attributes.run_name"
    for order in ("metrics.m", "metrics.m DESC", "params.P", "params.P DESC", "tags.odd DESC",
                  "status", "end_time DESC", "attributes.start_time"):  # fmt: skip
        for view in (1, 3):
            p.play(f"by {order}", c.search_runs, ids, "", view, 100, [order, last])
    for text in (
        "metrics.m = 1", "metrics.m != 1", "metrics.m >= 0 and params.P LIKE '%.0'",
        "params.P ILIKE 'NAN'", "tags.odd IN ('1', '2')", "tags.odd NOT IN ('1')",
        "attributes.status != 'KILLED'", "run_name IN ('run 1', 'run 2')", "end_time > 5",
        "tags.`odd` = \"1\"", "params.P IS NULL", "tags.none IS NOT NULL", "metrics.m > 1 and x",
    ):  # fmt: skip
        p.play(f"where {text}", c.search_runs, ids, text, 1, 100, [last])


def fluent(p: Player, uri: str) -> None:
    """The calls of a training script."""
    import mlflow

    mlflow.set_tracking_uri(uri)

    def training() -> list[Any]:
        mlflow.set_experiment("fluent")
        with mlflow.start_run(run_name="outer", tags={"a": "b"}) as outer:
            mlflow.log_params({"lr": 0.1, "layers": [1, 2], "none": None})
            mlflow.set_tags({"t": 1, "u": None})
            for step in range(5):
                mlflow.log_metrics({"loss": 1 / (step + 1), "acc": step}, step=step)
            with mlflow.start_run(run_name="inner", nested=True):
                for step in range(20):
                    mlflow.log_metric("later", step, step=step, synchronous=False)
                mlflow.log_params({"also": "later"}, synchronous=False)
                mlflow.flush_async_logging()
            mlflow.delete_tag("t")
        found = mlflow.search_runs(experiment_names=["fluent"], output_format="list")
        shown = []
        for run in sorted(found, key=lambda run: run.info.run_name):
            points = [m for key in run.data.metrics
                      for m in p.client.get_metric_history(run.info.run_id, key)]  # fmt: skip
            tags = {k: v for k, v in run.data.tags.items() if "source" not in k}
            kept = (run.info.run_name, run.info.status, run.data.metrics, run.data.params, tags)
            shown.append([*kept, sorted((m.key, m.step, m.value) for m in points)])
        return [outer.info.run_id, *shown]

    p.play("training", training)
    p.play("in no run", mlflow.get_run, "0" * 32)
    p.play("a parameter changed", mlflow.log_params, {"lr": 1})
    mlflow.end_run()


def everything(uri: str) -> list[Any]:
    """All outcomes, in order."""
    player = Player(uri)
    experiment = experiments(player)
    run_id = runs(player, experiment)
    logging(player, run_id)
    inputs(player, run_id)
    searches(player, experiment)
    registry(player)
    more_registry(player)
    logged_models(player)
    orders(player)
    fluent(player, uri)
    return player.outcomes


if __name__ == "__main__":
    # First, so that the stores need not be found through the entry points of an installed package.
    from mlflow import MlflowClient

    import headrace

    if sys.argv[2] == "on":
        headrace.enable()
    store = type(MlflowClient(sys.argv[1])._tracking_client.store)
    assert store.__module__.startswith("headrace.") == (sys.argv[2] == "on"), store
    with contextlib.redirect_stdout(sys.stderr):  # the client prints links to runs
        outcomes = everything(sys.argv[1])
    json.dump(outcomes, sys.stdout, indent=1)
