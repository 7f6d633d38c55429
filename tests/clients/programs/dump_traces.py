"""Everything the client can read of the traces of an experiment, as JSON. Runs under mlflow 3.4 to 3.18.

MLFLOW_TRACKING_URI is a server or a database that is read directly. Arguments: the experiment, a run with traces, a
version of a prompt (or "").
"""

import json
import sys
from typing import Any

import mlflow
from mlflow.entities import Trace

FILTERS = (
    "",
    "trace.status = 'ERROR'",
    "attributes.name = 'answer'",
    "tag.colour = 'red'",
    "tag.colour LIKE 'gr%'",
    "metadata.`mlflow.trace.session` = 's1'",
    "metadata.`mlflow.trace.user` = 'ann'",
    "timestamp_ms > 1600000000000",
    "execution_time_ms < 10000000",
    "span.name = 'model'",
    "span.type = 'TOOL' AND span.status = 'OK'",
    "span.attributes.number LIKE '%5%'",
    "feedback.score = '2.0'",
    "feedback.score > 1",
    "feedback.score = 2.0",
    "feedback.is_short = 'true'",
    "expectation.wanted IS NOT NULL",
    "trace.text LIKE '%question 3%'",
)


def of_span(span: Any) -> dict[str, Any]:
    """A span as the client shows it."""
    return {
        "id": span.span_id,
        "parent": span.parent_id,
        "name": span.name,
        "type": span.span_type,
        "times": [span.start_time_ns, span.end_time_ns],
        "status": [str(span.status.status_code), span.status.description],
        "inputs": span.inputs,
        "outputs": span.outputs,
        "attributes": span.attributes,
        "events": [[e.name, e.timestamp, dict(e.attributes)] for e in span.events],
    }


def of_assessment(assessment: Any) -> dict[str, Any]:
    """An assessment; the client drops `valid` of expectations that come from a server."""
    shown = assessment.to_dictionary()
    if "expectation" in shown:
        shown.pop("valid", None)
    return shown


def of_trace(trace: Trace) -> dict[str, Any]:
    """A trace as the client shows it."""
    info = trace.info
    return {
        "time": info.request_time,
        "duration": info.execution_duration,
        "state": str(info.state),
        "previews": [info.request_preview, info.response_preview],
        "client_request_id": info.client_request_id,
        "metadata": dict(info.trace_metadata),
        "tags": dict(info.tags),
        "usage": info.token_usage,
        "assessments": sorted((of_assessment(a) for a in info.assessments), key=json.dumps),
        "spans": [of_span(span) for span in trace.data.spans],
    }


def found(experiment_id: str, **how: Any) -> Any:
    """The ids that a search finds, or its error."""
    try:
        traces = mlflow.search_traces(
            experiment_ids=[experiment_id], return_type="list", include_spans=False, **how
        )
    except mlflow.MlflowException as error:
        return error.message.removeprefix(f"{error.error_code}: ")
    return [trace.info.trace_id for trace in traces]


def main() -> None:
    experiment_id, run_id, prompt = sys.argv[1:4]
    traces = mlflow.search_traces(experiment_ids=[experiment_id], return_type="list")
    filters = [*FILTERS, f"attributes.run_id = '{run_id}'"]
    filters += [f"prompt = '{prompt}'"] if prompt else []
    shown = {
        "traces": {trace.info.trace_id: of_trace(trace) for trace in traces},
        "one by one": {
            trace.info.trace_id: of_trace(mlflow.get_trace(trace.info.trace_id)) for trace in traces
        },
        "found": {text: found(experiment_id, filter_string=text) for text in filters},
        "ordered": found(experiment_id, order_by=["execution_time_ms DESC"], max_results=4),
        "of the run": found(experiment_id, run_id=run_id),
    }
    json.dump(shown, sys.stdout, sort_keys=True, default=str)


if __name__ == "__main__":
    main()
