"""The store for servers sends, retries and raises the same as MLflow's own store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.plugin.conftest import output
from tests.plugin.fix_recorder import make_certificate, recording

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.plugin.fix_recorder import Recorder

    Script = Callable[..., subprocess.Popen[str]]

CALLS = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
answers, sys.stdout = sys.stdout, sys.stderr  # the client prints links to runs
os.environ.update(MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="0", MLFLOW_HTTP_REQUEST_BACKOFF_JITTER="0")
import headrace, mlflow
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils import request_utils
RUN = "a" * 32
def show(value):
    if isinstance(value, list | tuple):
        return [*map(show, value), getattr(value, "token", None)]
    if hasattr(value, "__dict__"):
        return {k: show(v) for k, v in sorted(vars(value).items())}
    return repr(value)
def all_calls(c):
    yield "metric", lambda: c.log_metric(RUN, "m", float("nan"), 5, 6)
    yield "metric by default", lambda: c.log_metric(RUN, "m/x", 1, 0)
    yield "param", lambda: c.log_param(RUN, "p", "ü")
    yield "tag", lambda: c.set_tag(RUN, "t", "")
    yield "untag", lambda: c.delete_tag(RUN, "t")
    yield "batch", lambda: c.log_batch(RUN, [Metric("a", 1.5, 2, 3)], [Param("p", "v")], [RunTag("t", "v")])
    yield "empty batch", lambda: c.log_batch(RUN)
    yield "create", lambda: c.create_run("0", 1, {"k": "v"}, "named")
    yield "create nameless", lambda: c.create_run("0", 1)
    yield "get", lambda: c.get_run(RUN)
    yield "end", lambda: c.set_terminated(RUN, "FAILED", 9)
    yield "rename", lambda: c.update_run(RUN, name="new & old")
    yield "history", lambda: c._tracking_client.store.get_metric_history(RUN, "m & n", 5, "x=+")
    yield "search", lambda: c.search_runs(["0", 1], "metrics.m > 1", 2, 5, ["start_time"], "x")
    yield "search all", lambda: c.search_runs(["0"])
    yield "experiment", lambda: c.get_experiment(0)
    yield "by name", lambda: c.get_experiment_by_name("a b")
def play(uri, names=()):
    for switch in (headrace.disable, headrace.enable):
        sys.stdin.readline()  # the test has said how the server answers
        switch()
        request_utils._cached_get_request_session.cache_clear()  # neither finds what the other left
        client, said = mlflow.MlflowClient(uri), []
        for name, call in all_calls(client):
            if names and name not in names:
                continue
            try:
                said.append([name, show(call())])
            except mlflow.MlflowException as error:
                said.append([name, type(error).__name__, error.error_code, str(error)])
        print(json.dumps(said), file=answers, flush=True)
"""


def compared(
    process: subprocess.Popen[str], recorder: Recorder, *statuses: int | str
) -> tuple[list[Any], list[Any]]:
    """Requests and results of a script, which must be equal with headrace off and on; `statuses` come first."""
    assert process.stdin is not None
    assert process.stdout is not None
    sent, said = [], []
    for _ in ("off", "on"):
        recorder.statuses = list(statuses)
        process.stdin.write("\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, process.communicate()[1][-3000:]
        said.append(json.loads(line))
        sent.append(recorder.taken())
    for off, on in (sent, said):
        assert [pair for pair in zip(off, on, strict=True) if pair[0] != pair[1]] == []
    return sent[1], said[1]


def sent_header(sent: list[Any], name: str) -> str | None:
    """The header of the last request."""
    return dict(sent[-1][4]).get(name)


def test_requests_and_their_headers_are_mlflows(script: Script) -> None:
    text = """
play(sys.argv[1])
os.environ["MLFLOW_TRACKING_TOKEN"] = "secret"
play(sys.argv[1], ["metric", "get"])
del os.environ["MLFLOW_TRACKING_TOKEN"]
os.environ.update(MLFLOW_TRACKING_USERNAME="me", MLFLOW_TRACKING_PASSWORD="pass")
play(sys.argv[1], ["metric", "get"])
del os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]
play(sys.argv[1].replace("//", "//you:word@"), ["metric", "get"])
"""
    with recording() as recorder:
        process = script(CALLS + text, f"http://127.0.0.1:{recorder.server_port}", headrace="0")
        sent, _ = compared(process, recorder)
        assert len(sent) >= 16
        assert sent_header(sent, "authorization") is None
        sent, _ = compared(process, recorder)
        assert sent_header(sent, "authorization") == "Bearer secret"
        for _ in range(2):
            sent, _ = compared(process, recorder)
            assert str(sent_header(sent, "authorization")).startswith("Basic ")
        output(process)


def test_it_retries_as_often_as_mlflow(script: Script) -> None:
    text = """
play(sys.argv[1], ["metric"])
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
for _ in range(3): play(sys.argv[1], ["metric", "get"])
"""
    with recording() as recorder:
        process = script(CALLS + text, f"http://127.0.0.1:{recorder.server_port}", headrace="0")
        sent, said = compared(process, recorder, 503, 429)
        assert (len(sent), said) == (3, [["metric", "None"]])
        sent, said = compared(process, recorder, *[503] * 4)
        assert len(sent) == 4
        assert [outcome[0] for outcome in said] == ["metric", "get"]
        assert all("too many 503" in outcome[3] for outcome in said)
        _, said = compared(process, recorder, 404, 400)
        assert [outcome[1] for outcome in said] == ["RestException"] * 2
        sent, _ = compared(process, recorder, 307, 307)  # the same place again
        assert len(sent) > 2
        output(process)


def test_https_trusts_the_same_certificates(script: Script, tmp_path: Path) -> None:
    text = """
play(sys.argv[1], ["metric", "get"])
os.environ["MLFLOW_TRACKING_INSECURE_TLS"] = "true"
play(sys.argv[1], ["metric", "get"])
del os.environ["MLFLOW_TRACKING_INSECURE_TLS"]
os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"] = sys.argv[2]
play(sys.argv[1], ["metric", "get"])
del os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"]
os.environ["REQUESTS_CA_BUNDLE"] = sys.argv[2]
play(sys.argv[1], ["metric", "get"])
"""
    certificate = make_certificate(tmp_path / "certificate.pem")
    with recording(certificate) as recorder:
        process = script(
            "import os\nos.environ['MLFLOW_HTTP_REQUEST_MAX_RETRIES'] = '0'\n" + CALLS + text,
            f"https://127.0.0.1:{recorder.server_port}",
            str(certificate),
            headrace="0",
        )
        sent, said = compared(process, recorder)
        assert sent == []
        assert all("CERTIFICATE_VERIFY_FAILED" in outcome[3] for outcome in said)
        for _ in range(3):
            sent, said = compared(process, recorder)
            assert len(sent) == 2
            assert [len(outcome) for outcome in said] == [2, 2]
        output(process)


def test_the_requests_of_a_training_do_not_use_protobuf(script: Script) -> None:
    text = """
headrace.enable()
from mlflow.store.tracking.rest_store import RestStore
inherited = []
RestStore._call_endpoint = lambda self, api, *_: inherited.append(api.__name__)
for name, call in all_calls(mlflow.MlflowClient(sys.argv[1])):
    if name != "search": # its experiment id is a number
        call()
print(inherited, file=answers)
"""
    with recording() as recorder:
        process = script(CALLS + text, f"http://127.0.0.1:{recorder.server_port}")
        assert output(process) == "[]\n"
        assert len(recorder.taken()) >= 15


def test_an_answer_of_any_shape_is_read(script: Script) -> None:
    text = """
for _ in range(2): play(sys.argv[1], ["metric", "get", "search"])
"""
    with recording() as recorder:
        process = script(CALLS + text, f"http://127.0.0.1:{recorder.server_port}", headrace="0")
        for kinds in (("chunked", "gzip", "close"), ("gzip", "close", "chunked")):
            sent, said = compared(process, recorder, *kinds)
            assert [outcome[0] for outcome in said] == ["metric", "get", "search"]
            assert [len(outcome) for outcome in said] == [2, 2, 2]
            assert len(sent) == 3
        output(process)


def test_failures_are_retried_and_reported_as_by_mlflow(script: Script) -> None:
    text = """
play(sys.argv[1], ["metric", "create"])
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
for _ in range(5): play(sys.argv[1], ["metric", "create"])
"""
    with recording() as recorder:
        process = script(CALLS + text, f"http://127.0.0.1:{recorder.server_port}", headrace="0")
        # A disconnect before the answer is retried, one inside the answer is not, or there would be two runs.
        sent, said = compared(process, recorder, "hang up", 200, "hang up", "hang up")
        assert said[0][:2] == ["metric", "None"]
        assert len(sent) == 5
        sent, said = compared(process, recorder, 200, "cut")
        assert len(sent) == 2
        assert "Connection broken: IncompleteRead" in said[1][3]
        _, said = compared(process, recorder, *["hang up"] * 4)
        assert all("Max retries exceeded" in outcome[3] for outcome in said)
        sent, said = compared(process, recorder, "garbage")
        assert "not in a valid JSON format" in said[0][3]
        sent, said = compared(process, recorder, 503, "hang up")
        assert len(sent) == 3
        assert "Max retries exceeded" in said[0][3]
        _, said = compared(process, recorder, "close", 429)
        assert [outcome[0] for outcome in said] == ["metric", "create"]
        output(process)


def test_a_slow_server_is_reported_as_by_mlflow(script: Script) -> None:
    text = """
os.environ.update(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_HTTP_REQUEST_TIMEOUT="1")
play(sys.argv[1], ["metric", "metric by default"])
"""
    with recording() as recorder:
        process = script(CALLS + text, f"http://127.0.0.1:{recorder.server_port}", headrace="0")
        _, said = compared(process, recorder, 200, "slow")
        assert said[0] == ["metric", "None"]
        assert "Read timed out" in said[1][3]
        output(process)


def test_settings_that_cannot_be_are_refused_as_by_mlflow(script: Script) -> None:
    text = """
for name, value in (
    ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "99"),
    ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "-1"),
    ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "999"),
    ("MLFLOW_TRACKING_TOKEN", "of a file\\n"),
    ("MLFLOW_TRACKING_SERVER_CERT_PATH", "/nowhere"),
):
    before = os.environ.get(name)
    os.environ[name] = value
    play(sys.argv[1], ["metric"])
    del os.environ[name]
    if before: os.environ[name] = before
play("http://127.0.0.1:port", ["metric"])
"""
    with recording() as recorder:
        process = script(CALLS + text, f"http://127.0.0.1:{recorder.server_port}", headrace="0")
        for words in ("max_retries", "max_retries", "backoff_factor", "Invalid", "", "Invalid url"):
            sent, said = compared(process, recorder)
            if words:
                assert sent == []
                assert words in said[0][3]
        output(process)


def test_cookies_and_headers_of_other_packages_are_sent(script: Script) -> None:
    text = """
play(sys.argv[1], ["metric", "get", "create"])
import types
pyspark = sys.modules["pyspark"] = types.ModuleType("pyspark")
context = types.SimpleNamespace(getLocalProperty=lambda name: "7")  # as in a notebook of Databricks
pyspark.TaskContext = types.SimpleNamespace(get=lambda: context)
play(sys.argv[1], ["metric"])
del sys.modules["pyspark"]
from mlflow.tracking.request_header import registry
from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider
class Provider(RequestHeaderProvider):
    def in_context(self): return True
    def request_headers(self): return {"X-Team": "blue"}
registry._request_header_provider_registry.register(Provider)
play(sys.argv[1], ["metric"])
"""
    with recording() as recorder:
        process = script(CALLS + text, f"http://127.0.0.1:{recorder.server_port}", headrace="0")
        sent, _ = compared(process, recorder, "cookie")
        assert sent_header(sent, "cookie") == "lane=7"
        sent, _ = compared(process, recorder)
        assert sent_header(sent, "notebook_id") == "7"
        sent, _ = compared(process, recorder)
        assert sent_header(sent, "x-team") == "blue"
        output(process)


def test_the_workspace_of_the_program_is_sent(script: Script) -> None:
    text = """
from mlflow.utils import server_info, workspace_context
server_info._SERVER_INFO_CACHE_TTL_SECONDS = -1  # neither finds what the other left
mlflow.set_workspace("team-a")
play(sys.argv[1], ["metric", "get", "create", "search"])
mlflow.set_workspace(None)
play(sys.argv[1], ["metric"])
with workspace_context.WorkspaceContext("team-b"):
    play(sys.argv[1], ["metric"])
"""
    with recording() as recorder:
        process = script(CALLS + text, f"http://127.0.0.1:{recorder.server_port}", headrace="0")
        sent, _ = compared(process, recorder)
        named = {request[1]: sent_header([request], "x-mlflow-workspace") for request in sent}
        assert set(named.values()) == {"team-a"}, named
        sent, _ = compared(process, recorder)
        assert sent_header(sent, "x-mlflow-workspace") is None
        sent, _ = compared(process, recorder)
        assert sent_header(sent, "x-mlflow-workspace") == "team-b"
        output(process)
