"""Traces of every kind that a client sends, into a new experiment. Runs under mlflow 3.4 to 3.18.

Arguments: the name of the experiment, and `dataset` to make a dataset from its traces. Prints as JSON the ids.
"""

import json
import sys
import time
from typing import Any

import mlflow
from mlflow.entities import AssessmentSource, SpanEvent
from mlflow.genai.scorers import scorer

COLOURS = ("red", "green", "blue")


@mlflow.trace(span_type="TOOL")
def look_up(question: str) -> list[dict[str, Any]]:
    """A nested span with an event and values of every type."""
    span = mlflow.get_current_active_span()
    if span is not None:  # evaluate() first tries the function without tracing
        span.set_attributes(
            {
                "number": 5,
                "float": 0.5,
                "flag": True,
                "list": [1, "a", None],
                "map": {"k": {"é": 1}},
            }
        )
        span.add_event(SpanEvent("found", attributes={"count": 2}))
    return [{"text": question.upper()}]


@mlflow.trace(name="answer", span_type="CHAIN", attributes={"version": "1"})
def answer(question: str, number: int = 0) -> dict[str, Any]:
    """A root with children, a session, a user, tags and usage."""
    mlflow.update_current_trace(
        tags={"colour": COLOURS[number % 3]},
        metadata={"mlflow.trace.session": f"s{number % 2}", "mlflow.trace.user": "ann"},
    )
    documents = look_up(question)
    with mlflow.start_span("model", span_type="CHAT_MODEL") as span:
        span.set_inputs({"messages": [{"role": "user", "content": question}]})
        span.set_attribute(
            "mlflow.chat.tokenUsage",
            {"input_tokens": 3 + number, "output_tokens": 2, "total_tokens": 5 + number},
        )
        span.set_outputs({"content": f"{len(documents)} documents"})
    if question == "fail":
        raise ValueError("no answer")
    return {"content": "documents", "number": number}


@scorer
def is_short(outputs: Any) -> bool:
    """A scorer that is plain code."""
    return len(str(outputs)) < 100


def assessed(trace_ids: list[str]) -> None:
    """Feedback that is changed, replaced and deleted; an expectation."""
    first, second = trace_ids[:2]
    human = AssessmentSource(source_type="HUMAN", source_id="ann")
    one = mlflow.log_feedback(
        trace_id=first, name="score", value=4, source=human, rationale="good", metadata={"k": "v"}
    )
    mlflow.log_expectation(trace_id=first, name="wanted", value={"a": [1, 2]}, source=human)
    mlflow.override_feedback(trace_id=first, assessment_id=one.assessment_id, value=2)
    gone = mlflow.log_feedback(trace_id=second, name="gone", value="x", source=human)
    mlflow.delete_assessment(trace_id=second, assessment_id=gone.assessment_id)
    mlflow.log_feedback(trace_id=second, name="broken", error=ValueError("no judge"))


def linked(name: str) -> str:
    """A trace that loads a prompt; its id."""
    prompt = mlflow.genai.register_prompt(name=name, template="Say {{what}}")

    @mlflow.trace
    def prompted() -> str:
        return mlflow.genai.load_prompt(f"prompts:/{name}/{prompt.version}").format(what="yes")

    prompted()
    return mlflow.get_last_active_trace_id()


def main() -> None:
    name = sys.argv[1]
    experiment_id = mlflow.set_experiment(name).experiment_id
    trace_ids = []
    for number in range(6):
        answer(f"question {number}", number)
        trace_ids.append(mlflow.get_last_active_trace_id())
    try:
        answer("fail", 6)
    except ValueError:
        trace_ids.append(mlflow.get_last_active_trace_id())
    with mlflow.start_run() as run:
        answer("in a run", 7)
        trace_ids.append(mlflow.get_last_active_trace_id())
    mlflow.flush_trace_async_logging()
    assessed(trace_ids)
    client = mlflow.MlflowClient()
    client.set_trace_tag(trace_ids[0], "later", "é")
    client.delete_trace_tag(trace_ids[1], "colour")
    prompted = linked(f"prompt-of-{experiment_id}")
    mlflow.flush_trace_async_logging()
    evaluation = mlflow.genai.evaluate(
        data=[
            {"inputs": {"question": f"q{n}", "number": n}, "expectations": {"wanted": n}}
            for n in (8, 9)
        ],
        predict_fn=answer,
        scorers=[is_short],
    )
    made = {
        "experiment_id": experiment_id,
        "trace_ids": trace_ids,
        "prompted": prompted,
        "run_id": run.info.run_id,
        "evaluation": evaluation.run_id,
        "metrics": evaluation.metrics,
    }
    gone = mlflow.start_span_no_context("gone")
    gone.end()
    mlflow.flush_trace_async_logging()
    time.sleep(0.01)
    deleted = client.delete_traces(experiment_id, trace_ids=[gone.trace_id])
    assert deleted == 1, deleted
    if "dataset" in sys.argv[2:]:
        dataset = mlflow.genai.create_dataset(name=f"data of {name}", experiment_id=[experiment_id])
        traces = [mlflow.get_trace(trace_id) for trace_id in trace_ids[:2]]
        dataset.merge_records(traces)
        made["records"] = len(dataset.to_df())
    json.dump(made, sys.stdout)


if __name__ == "__main__":
    main()
