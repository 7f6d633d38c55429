"""Calls of MLflow's Python API on the traces of one database; prints outcomes and rows as JSON.

python -m tests.plugin.trace_calls URI on|off
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from decimal import Decimal
from functools import partial
from typing import Any

from tests.plugin.calls import NOW, Player

os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"
os.environ["MLFLOW_MODEL_CATALOG_URI"] = ""  # else MLflow asks the internet for prices
NS = 1_000_000
# Ordered, without what differs between two runs.
TABLES = {
    "traces": "SELECT request_id, experiment_id, timestamp_ms, execution_time_ms, status, client_request_id,"
    " request_preview, response_preview, db_payload_generation, trace_name, session_id, input_tokens,"
    " output_tokens, total_tokens, cache_read_input_tokens, input_cost, output_cost, total_cost"
    " FROM trace_info WHERE request_id LIKE 'tr-0%' ORDER BY 1",
    "tags": "SELECT request_id, key, value FROM trace_tags WHERE request_id LIKE 'tr-0%' ORDER BY 1, 2",
    "metadata": "SELECT request_id, key, value FROM trace_request_metadata"
    " WHERE request_id LIKE 'tr-0%' ORDER BY 1, 2",
    "spans": "SELECT trace_id, span_id, experiment_id, parent_span_id, name, type, status,"
    " start_time_unix_nano, end_time_unix_nano, content, input_cost, output_cost, total_cost, model_name,"
    " model_provider FROM spans WHERE trace_id LIKE 'tr-0%' ORDER BY 1, 2",
    "assessments": "SELECT trace_id, name, assessment_type, value, error, source_type, source_id, run_id,"
    " span_id, rationale, valid, assessment_metadata, experiment_id, trace_timestamp_ms,"
    " aggregate_value, is_numeric_value FROM assessments ORDER BY 1, 2, 4",
    "links": "SELECT source_type, source_id, destination_type, destination_id FROM entity_associations"
    " WHERE source_id LIKE 'tr-0%' ORDER BY 2, 3, 4",
}


class TracePlayer(Player):
    """Shows spans as they are stored, and of times of assessments only whether there is one."""

    def show(self, value: Any, name: str = "") -> Any:
        from mlflow.entities import Span

        if isinstance(value, Span):
            return {
                type(value).__name__: [self.show(value.to_dict()), vars(value).get("_raw_json")]
            }
        if isinstance(value, Decimal):  # PostgreSQL's averages, in MLflow
            return float(value)
        if name in ("create_time_ms", "last_update_time_ms"):
            return value is not None
        if name == "assessments":  # neither store guarantees an order
            value = sorted(value, key=lambda one: (one.name, repr(one.feedback)))
        return super().show(value, name)


def trace_id(n: int) -> str:
    return f"tr-{n:032x}"


def span(n: int, number: int, parent: int | None = None, **more: Any) -> Any:
    """A span of trace `n`; `more` are attributes, and `_start`, `_end`, `_status`, `_events`, `_links`."""
    from mlflow.entities import Span

    def encoded(value: int, size: int) -> str:
        return base64.b64encode(value.to_bytes(size, "big")).decode()

    start = more.pop("_start", NOW * NS + number * 7 * NS)
    attributes = {"mlflow.traceRequestId": trace_id(n)}
    attributes |= {key.replace("__", "."): value for key, value in more.items() if key[0] != "_"}
    return Span.from_dict(
        {
            "trace_id": encoded(n, 16),
            "span_id": encoded(number, 8),
            "parent_span_id": None if parent is None else encoded(parent, 8),
            "name": f"step {number}",
            "start_time_unix_nano": start,
            "end_time_unix_nano": more.get("_end", start + 5 * NS),
            "status": more.get("_status", {"code": "STATUS_CODE_OK", "message": ""}),
            "attributes": {key: json.dumps(value) for key, value in attributes.items()},
            "events": more.get("_events", []),
            "links": more.get("_links", []),
        }
    )


def info(n: int, experiment: str = "0", **more: Any) -> Any:
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    return TraceInfo(
        trace_id=trace_id(n),
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=more.pop("request_time", NOW + n),
        state=TraceState(more.pop("state", "OK")),
        execution_duration=more.pop("execution_duration", 12),
        **more,
    )


def writes(p: Player) -> None:
    store = p.client._tracking_client.store
    chat = {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14}
    usage = {"mlflow__chat__tokenUsage": chat, "mlflow__llm__model": "own-model"}
    messages = {"messages": [{"role": "user", "content": "Grüße"}]}
    first = [
        span(1, 2, 1, **usage, mlflow__spanType="LLM", _status={"code": "STATUS_CODE_ERROR", "message": "bad"}),
        span(
            1, 1, mlflow__spanType="CHAIN", mlflow__spanInputs=messages, mlflow__spanOutputs="yes",
            session__id="s 1", user__id="ann", deep={"a": [1, 2.5, None, "ü\n"]}, text='{"b": 1}', half='"q"',
            digit="5", odd="\u2028", empty="", mlflow__traceTag__color="blue",
            _events=[{"name": "e", "time_unix_nano": NOW * NS, "attributes": {"k": "v", "n": 5}}],
            _links=[{"trace_id": trace_id(9), "span_id": f"{7:016x}", "attributes": {"a": 1}}],
        ),
    ]  # fmt: skip
    p.play("spans first", store.log_spans, "0", first)
    stated = {
        "mlflow.trace.session": "s 2",
        "mlflow.user": "ann",
        "mlflow.trace.tokenUsage": json.dumps(chat),
    }
    p.play("then the trace", store.start_trace, info(
        1, tags={"mlflow.traceName": "one", "team": "red"}, request_preview="in", client_request_id="c",
        trace_metadata=stated))  # fmt: skip
    p.play(
        "the trace first", store.start_trace, info(2, state="IN_PROGRESS", execution_duration=None)
    )
    p.play("then spans", store.log_spans, "0", [span(2, 1, **usage), span(2, 2, 1)])
    p.play("one span later", store.log_spans, "0", [span(2, 3, 1, **usage, _start=(NOW - 50) * NS)])
    p.play("a span again", store.log_spans, "0", [span(2, 3, 1, changed=True, session__id="s 3")])
    p.play("two traces", store.log_spans, "0", [span(3, 1), span(4, 1), span(3, 2, 1)])
    p.play("a child only", store.log_spans, "0", [span(5, 2, 1)])
    foreign = {
        "openinference__span__kind": "LLM",
        "llm__token_count__prompt": 3,
        "input__value": "hello",
    }
    p.play("of another library", store.log_spans, "0", [span(6, 1, **foreign)])
    other = p.client.create_experiment("other")
    p.play("in another experiment", store.log_spans, other, [span(7, 1)])
    p.play("of a trace elsewhere", store.log_spans, other, [span(3, 9, 1)])
    p.play("a trace that moves", store.start_trace, info(4, other))
    p.play("no spans", store.log_spans, "0", [])
    p.play("nowhere", store.log_spans, "999", [span(8, 1)])
    p.play("of nobody", store.log_spans, "abc", [span(8, 1)])
    p.play("not ended", store.log_spans, "0", [span(10, 1, _end=None)])
    p.play("an odd link", store.log_spans, "0", [
        span(11, 1, _links=[{"trace_id": "abc", "span_id": "12", "attributes": None}])])  # fmt: skip
    p.play("trace nowhere", store.start_trace, info(12, "999"))
    p.play("a long name", store.start_trace, info(12, tags={"mlflow.traceName": "n" * 4097}))
    p.play(
        "a long session",
        store.start_trace,
        info(12, trace_metadata={"mlflow.trace.session": "s" * 251}),
    )
    long = {"long": "v" * 5000, "k" * 250: "w"}
    p.play("long values", store.start_trace, info(13, tags=long, trace_metadata=long))
    p.play("tag", store.set_trace_tag, trace_id(1), "team", "blue")
    for key, value in (("", "v"), ("bad\nkey", "v"), ("k" * 251, "v"), ("k", "v" * 9000), ("k", ""),
                       ("mlflow.traceName", "renamed"), ("mlflow.artifactLocation", "x"), ("n", 5)):  # fmt: skip
        p.play(f"tag {key[:5]!r}", store.set_trace_tag, trace_id(1), key, value)
    p.play("tag of none", store.set_trace_tag, trace_id(99), "k", "v")
    for key in ("team", "team", "none", "mlflow.traceName", "mlflow.traceName"):
        p.play(f"untag {key}", store.delete_trace_tag, trace_id(1), key)
    run = p.client.create_run("0", NOW, {}, "of traces").info.run_id
    for ids in ([trace_id(1), trace_id(2)], [trace_id(1)], [], [trace_id(n) for n in range(101)]):
        p.play("link", store.link_traces_to_run, ids, "0" * 32)
    p.play("link to a run", store.link_traces_to_run, [trace_id(3)], run)


def assessments(p: Player) -> None:
    from mlflow.entities import (
        AssessmentError,
        AssessmentSource,
        Expectation,
        Feedback,
    )
    from mlflow.entities.assessment import ExpectationValue, FeedbackValue

    store = p.client._tracking_client.store
    person = AssessmentSource("HUMAN", "ann")
    made = []
    for n, value in enumerate((5, 0.5, True, "yes", None, [1, 2], {"a": 1.0}, float("inf"), "ü")):
        one = Feedback(
            f"f{n}", value, source=person, trace_id=trace_id(1), rationale="r", metadata={"m": "1"}
        )
        made.append(p.play(f"feedback {value!r}", store.create_assessment, one))
    broken = AssessmentError("E", "bad", "stack")
    p.play(
        "error",
        store.create_assessment,
        Feedback("e", error=broken, source=person, trace_id=trace_id(1)),
    )
    for value in (4, "text", [1], {"k": "v"}):
        one = Expectation(
            f"x {value}", value, source=person, trace_id=trace_id(2), span_id="0" * 16
        )
        made.append(p.play("expectation", store.create_assessment, one))
    of_run = Feedback(
        "of a run", 1.0, trace_id=trace_id(2), metadata={"mlflow.assessment.sourceRunId": "r" * 32}
    )
    p.play("of a run", store.create_assessment, of_run)
    p.play("of none", store.create_assessment, Feedback("f", 1, trace_id=trace_id(99)))
    p.play("again", store.create_assessment, made[0])
    over = Feedback("f0", 6, source=person, trace_id=trace_id(1), overrides=made[0].assessment_id)
    over = p.play("override", store.create_assessment, over)
    none = Feedback("f0", 6, trace_id=trace_id(1), overrides="a-none")
    p.play("override none", store.create_assessment, none)
    ids = trace_id(1), made[1].assessment_id
    for change in (
        {"name": "g"}, {"rationale": "s"}, {"metadata": {"n": "2"}}, {"feedback": FeedbackValue(7)},
        {"expectation": ExpectationValue(7)}, {"feedback": FeedbackValue(None, broken)}, {},
        {"feedback": FeedbackValue(1), "expectation": ExpectationValue(1)},
    ):  # fmt: skip
        p.play(f"update {list(change)}", partial(store.update_assessment, *ids, **change))
    expected = trace_id(2), made[-1].assessment_id
    p.play(
        "expect more", store.update_assessment, *expected, expectation=ExpectationValue({"z": 1})
    )
    p.play("expect feedback", store.update_assessment, *expected, feedback=FeedbackValue(1))
    for pair in (
        ids,
        expected,
        (trace_id(1), "a-none"),
        (trace_id(99), "a-none"),
        (trace_id(2), ids[1]),
    ):
        p.play("get", store.get_assessment, *pair)
    p.play("update none", store.update_assessment, trace_id(1), "a-none", "g")
    p.play("delete the override", store.delete_assessment, trace_id(1), over.assessment_id)
    p.play("overridden is valid", store.get_assessment, trace_id(1), made[0].assessment_id)
    p.play("delete none", store.delete_assessment, trace_id(1), "a-none")
    p.play("delete of none", store.delete_assessment, trace_id(99), "a-none")
    p.play("a trace with assessments", store.start_trace, info(14, assessments=[
        Feedback("with the trace", 1, source=person), Expectation("expected", "x", source=person)]))  # fmt: skip


def reads(p: Player) -> None:
    from mlflow.entities.trace_metrics import AggregationType, MetricAggregation, MetricViewType

    store = p.client._tracking_client.store
    for n in (1, 2, 3, 7, 13, 14, 99):
        p.play(f"info {n}", store.get_trace_info, trace_id(n))
    for n in (1, 2, 3, 6, 7, 13, 99):
        p.play(f"trace {n}", store.get_trace, trace_id(n), allow_partial=True)
    whole = p.play("whole trace", store.get_trace, trace_id(1))
    p.play(
        "spans of it", lambda: [(one.name, one.attributes, one.status) for one in whole.data.spans]
    )
    many = [trace_id(n) for n in (3, 1, 99, 1, 2)]
    p.play("batch", store.batch_get_traces, many)
    p.play("batch of infos", store.batch_get_trace_infos, [*many, trace_id(13)])
    p.play("batch of one elsewhere", store.batch_get_traces, [trace_id(13)])
    p.play("batch in an experiment", store.batch_get_traces, many, None, ["0"])
    for nothing in ([], [trace_id(99)]):
        p.play("batch of nothing", store.batch_get_traces, nothing)
        p.play("infos of nothing", store.batch_get_trace_infos, nothing)
    by_id = ["request_id ASC"]
    for text in (
        None, "", "tags.color = 'blue'", "metadata.`mlflow.trace.session` = 's 2'", "status = 'ERROR'",
        "trace.text LIKE '%Grüße%'", "span.name = 'step 3'", "feedback.f3 = 'yes'", "feedback.g > 1",
        "run_id = '" + "0" * 32 + "'", "timestamp_ms > 5 AND span.type = 'LLM'", "name RLIKE '^o'",
        "nonsense", "tags.x > 5", "expectation.`x text` = 'text'", "request_metadata.long LIKE 'v%'",
    ):  # fmt: skip
        p.play(f"where {text}", store.search_traces, ["0"], text, 100, by_id)
    page, token = store.search_traces(["0"], None, 3, by_id)
    p.play("page", lambda: (page, token))
    p.play("next page", store.search_traces, ["0"], None, 3, by_id, token)
    p.play("newest", store.search_traces, ["0"])
    p.play("locations", store.search_traces, locations=["0", "1"], order_by=["timestamp_ms DESC"])
    for limit in (0, -1, 50_001, "3", None):
        p.play(f"limit {limit!r}", store.search_traces, ["0"], None, limit)
    for ids in ([], ["abc"], None, ["999"], [0]):
        p.play(f"in {ids}", store.search_traces, ids, None, 2, by_id)
    p.play("order badly", store.search_traces, ["0"], order_by=["flavour"])
    p.play("bad token", store.search_traces, ["0"], page_token="%%%")
    for pair in (
        ("status = 'OK'", "tags.color = 'blue'"),
        ("status = 'OK'", "tags.none = 'x'"),
        ("x", "y"),
    ):
        p.play("correlation", store.calculate_trace_filter_correlation, ["0"], *pair)
    p.play("correlation within", store.calculate_trace_filter_correlation,
           ["0"], "status = 'OK'", "tags.color = 'blue'", "timestamp_ms > 5")  # fmt: skip
    count = [MetricAggregation(AggregationType.COUNT)]
    half = [
        MetricAggregation(AggregationType.PERCENTILE, 50),
        MetricAggregation(AggregationType.AVG),
    ]
    for view, name, what, more in (
        (MetricViewType.TRACES, "trace_count", count, {"dimensions": ["trace_status"]}),
        (MetricViewType.TRACES, "latency", half, {}),
        (MetricViewType.TRACES, "total_tokens", half, {
            "time_interval_seconds": 3600, "start_time_ms": NOW - 10**8, "end_time_ms": NOW + 10**8}),
        (MetricViewType.TRACES, "latency", half, {"time_interval_seconds": 3600}),
        (MetricViewType.SPANS, "span_count", count, {"dimensions": ["span_name"], "filters": ["span.type = 'LLM'"]}),
        (MetricViewType.ASSESSMENTS, "assessment_count", count, {"dimensions": ["assessment_name"]}),
        (MetricViewType.TRACES, "nonsense", count, {}),
    ):  # fmt: skip
        p.play(f"metric {name}", store.query_trace_metrics, ["0"], view, name, what, **more)


def deletions(p: Player) -> None:
    store = p.client._tracking_client.store
    p.play("delete", store.delete_traces, "0", trace_ids=[trace_id(3), trace_id(99)])
    p.play("delete elsewhere", store.delete_traces, "1", trace_ids=[trace_id(1)])
    p.play("delete nothing", store.delete_traces, "0")
    p.play("delete too much", store.delete_traces, "0", 5, None, [trace_id(1)])
    p.play("delete one", store.delete_traces, "0", NOW + 10**6, 1)
    p.play("delete none", store.delete_traces, "0", NOW, 0)
    p.play("left", store.search_traces, ["0"], None, 100, ["request_id ASC"])


def traced(p: Player, uri: str) -> None:
    """The calls of an application."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("traced")

    @mlflow.trace(span_type="TOOL", attributes={"a": 1})
    def inner(x: int) -> int:
        if x == 3:
            raise ValueError("three")
        return x * 2

    @mlflow.trace
    def outer(x: int) -> Any:
        mlflow.update_current_trace(tags={"x": str(x)}, metadata={"mlflow.trace.session": f"s{x}"})
        return [inner(n) for n in range(x)]

    def shown(trace: Any) -> Any:
        spans = [(s.name, s.span_type, s.inputs, s.outputs, s.status.status_code, s.parent_id is None,
                  len(s.events)) for s in trace.data.spans]  # fmt: skip
        tags = {k: v for k, v in trace.info.tags.items() if k != "mlflow.artifactLocation"}
        kept = (
            "mlflow.trace.session",
            "mlflow.traceInputs",
            "mlflow.traceOutputs",
            "mlflow.trace_schema.version",
        )
        metadata = {k: v for k, v in trace.info.trace_metadata.items() if k in kept}
        return [trace.info.state, tags, metadata, trace.info.request_preview, trace.info.response_preview,
                [(a.name, a.value) for a in trace.info.assessments], spans]  # fmt: skip

    for x in (1, 2, 4):
        p.play("call", outer, x)
        last = mlflow.get_last_active_trace_id()
        p.play("read back", lambda last=last: shown(mlflow.get_trace(last)))
    mlflow.log_feedback(trace_id=last, name="good", value=True)
    p.play("assessed", lambda: shown(mlflow.get_trace(last)))
    found = mlflow.search_traces(return_type="list", order_by=["timestamp_ms ASC"])
    p.play("found", lambda: [shown(one) for one in found])
    mlflow.MlflowClient().delete_traces(found[0].info.experiment_id, trace_ids=[last])
    p.play("deleted", mlflow.get_trace, last)


def rows(p: Player) -> None:
    from sqlalchemy import text

    with p.client._tracking_client.store.engine.connect() as connection:
        for name, statement in TABLES.items():
            found = [p.show(list(row)) for row in connection.execute(text(statement))]
            p.outcomes.append([name, found])


def everything(uri: str) -> list[Any]:
    """All outcomes, in order."""
    player = TracePlayer(uri)
    for part in (writes, assessments, reads, rows, deletions, rows):
        part(player)
    traced(player, uri)
    return player.outcomes


if __name__ == "__main__":
    # First, so that the stores need not be found through the entry points of an installed package.
    from mlflow import MlflowClient

    import headrace

    if sys.argv[2] == "on":
        headrace.enable()
    store = type(MlflowClient(sys.argv[1])._tracking_client.store)
    assert store.__module__.startswith("headrace.") == (sys.argv[2] == "on"), store
    with contextlib.redirect_stdout(sys.stderr):
        outcomes = everything(sys.argv[1])
    json.dump(outcomes, sys.stdout, indent=1)
