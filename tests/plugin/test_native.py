"""Native calls use the database only through headrace: SQLAlchemy sends nothing."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.plugin.conftest import SCRIPT_TIMEOUT_S, output

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = """
import sys, warnings
warnings.simplefilter("ignore")
import headrace
headrace.enable()
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from sqlalchemy import event
from sqlalchemy.engine import Engine
c = MlflowClient(sys.argv[1])
store, registry = c._tracking_client.store, c._get_registry_client().store
sent = []
event.listen(Engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
e = c.create_experiment("e", tags={"k": "v"})
run = c.create_run(e, tags={"k": "v"}, run_name="r").info.run_id
calls = [
    lambda: c.get_experiment(e), lambda: c.get_experiment_by_name("e"), lambda: c.search_experiments(),
    lambda: c.rename_experiment(e, "f"), lambda: c.set_experiment_tag(e, "k", "w"),
    lambda: c.delete_experiment(e), lambda: c.restore_experiment(e),
    lambda: c.log_batch(run, [Metric("m", 1.0, n, n) for n in range(9)], [Param("p", "v")], [RunTag("t", "v")]),
    lambda: c.log_metric(run, "m", 5), lambda: c.log_param(run, "q", 5), lambda: c.set_tag(run, "u", 5),
    lambda: c.delete_tag(run, "u"), lambda: c.log_inputs(run, [DatasetInput(Dataset("d", "1", "s", "{}"), [])]),
    lambda: c.get_run(run), lambda: c.update_run(run, "FINISHED", "new"), lambda: c.set_terminated(run),
    lambda: c.get_metric_history(run, "m"), lambda: c.search_runs([e]),
    lambda: c.search_runs([e], "metrics.m > 0", order_by=["metrics.m"], max_results=1),
    lambda: c.delete_run(run), lambda: c.restore_run(run),
    lambda: c.create_registered_model("m", {"k": "v"}), lambda: c.create_model_version("m", "s3://b", run),
    lambda: c.set_registered_model_alias("m", "best", 1), lambda: c.get_model_version_by_alias("m", "best"),
    lambda: c.get_registered_model("m"), lambda: c.get_model_version("m", 1), lambda: c.search_model_versions(),
    lambda: c.search_registered_models(), lambda: c.get_latest_versions("m"),
    lambda: c.transition_model_version_stage("m", 1, "Production"), lambda: c.set_model_version_tag("m", 1, "k", "v"),
    lambda: c.delete_model_version_tag("m", 1, "k"), lambda: c.set_registered_model_tag("m", "k", "w"),
    lambda: c.delete_registered_model_tag("m", "k"), lambda: c.update_model_version("m", 1, "d"),
    lambda: c.update_registered_model("m", "d"), lambda: c.get_model_version_download_uri("m", 1),
    lambda: c.delete_registered_model_alias("m", "best"), lambda: c.delete_model_version("m", 1),
    lambda: c.rename_registered_model("m", "n"), lambda: c.delete_registered_model("n"),
]
for call in calls:
    call()
assert sent == [], sent
print(len(calls))
"""


def test_sqlalchemy_sends_nothing(script: Callable[..., subprocess.Popen[str]], uri: str) -> None:
    assert int(output(script(CALLS, uri))) > 40


TRACE_CALLS = """
import os, sys, warnings
warnings.simplefilter("ignore")
os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"
import headrace
headrace.enable()
import mlflow
from mlflow.entities import Feedback
from mlflow.entities.assessment import FeedbackValue
from mlflow.entities.trace_metrics import AggregationType, MetricAggregation, MetricViewType
from sqlalchemy import event
from sqlalchemy.engine import Engine
mlflow.set_tracking_uri(sys.argv[1])
experiment = mlflow.set_experiment("traced").experiment_id
store = mlflow.MlflowClient()._tracking_client.store
sent = []
event.listen(Engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
@mlflow.trace
def inner(x): return x
@mlflow.trace(span_type="CHAIN")
def outer(x): return inner(x)
outer(1)
outer(2)
trace = mlflow.get_last_active_trace_id()
made = mlflow.log_feedback(trace_id=trace, name="good", value=True)
mlflow.log_expectation(trace_id=trace, name="right", value=4)
c = mlflow.MlflowClient()
calls = [
    lambda: mlflow.get_trace(trace), lambda: c.get_trace(trace), lambda: store.get_trace_info(trace),
    lambda: store.batch_get_traces([trace]), lambda: store.batch_get_trace_infos([trace]),
    lambda: mlflow.search_traces(return_type="list"), lambda: mlflow.search_traces(filter_string="tags.a = 'b'"),
    lambda: mlflow.search_traces(filter_string="trace.status = 'OK'", order_by=["timestamp_ms ASC"]),
    lambda: c.set_trace_tag(trace, "k", "v"), lambda: c.delete_trace_tag(trace, "k"),
    lambda: store.get_assessment(trace, made.assessment_id),
    lambda: store.update_assessment(trace, made.assessment_id, feedback=FeedbackValue(False)),
    lambda: mlflow.override_feedback(trace_id=trace, assessment_id=made.assessment_id, value=True),
    lambda: mlflow.delete_assessment(trace_id=trace, assessment_id=made.assessment_id),
    lambda: store.link_traces_to_run([trace], "0" * 32),
    lambda: store.calculate_trace_filter_correlation([experiment], "status = 'OK'", "status = 'ERROR'"),
    lambda: store.query_trace_metrics([experiment], MetricViewType.TRACES, "latency",
        [MetricAggregation(AggregationType.PERCENTILE, 50)]),
    lambda: c.delete_traces(experiment, trace_ids=[trace]),
]
for call in calls:
    call()
assert sent == [], sent
assert len(mlflow.search_traces(return_type="list")) == 1
print(len(calls))
"""


def test_sqlalchemy_sends_nothing_for_traces(
    script: Callable[..., subprocess.Popen[str]], uri: str
) -> None:
    assert int(output(script(TRACE_CALLS, uri))) == 18


@pytest.mark.clients
def test_sqlalchemy_sends_nothing_with_mlflow_2(
    empty_uri: str, mlflow2: tuple[str, list[str]]
) -> None:
    python, paths = mlflow2
    done = subprocess.run(
        [python, "-c", CALLS, empty_uri],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=SCRIPT_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 40


REFUSED = """
import sys
import mlflow.version
if sys.argv[2] != "now": mlflow.version.VERSION = sys.argv[2]
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
asked, set_tag = [], SqlAlchemyStore.set_tag
SqlAlchemyStore.set_tag = lambda *args: asked.append(args) or set_tag(*args)
client = MlflowClient(sys.argv[1])
run = client.create_run("0").info.run_id
client.set_tag(run, "t", "v")
try: client.set_tag(run, "bad\\nkey", "v")
except mlflow.MlflowException: print(len(asked))
"""


@pytest.mark.parametrize(("release", "asked"), [("now", 0), ("3.1.4", 1), ("3.18.0", 1)])
def test_another_release_of_mlflow_refuses_in_its_own_words(
    script: Callable[..., subprocess.Popen[str]], sqlite_uri: str, release: str, asked: int
) -> None:
    assert int(output(script(REFUSED, sqlite_uri, release))) == asked
