"""Assessments that a run made go with it, and with its experiment; those of other runs stay."""

from __future__ import annotations

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run

TRACES = "/api/3.0/mlflow/traces"
SOURCE_RUN = "mlflow.assessment.sourceRunId"


def trace() -> Ask:
    """A trace of `$exp`; its id is the dialogue's own."""
    info = {
        "trace_id": "tr-$exp",
        "trace_location": {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": "$exp"},
        },
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
    }
    return post("a trace", TRACES, {"trace": {"trace_info": info}})


def assess(number: int, run_name: str) -> Ask:
    """An assessment of the trace that a run made."""
    assessment = {
        "assessment_name": f"assessment {number}",
        "trace_id": "tr-$exp",
        "source": {"source_type": "HUMAN", "source_id": "someone"},
        "create_time": "2026-01-01T00:00:00Z",
        "last_update_time": "2026-01-01T00:00:00Z",
        "feedback": {"value": True},
        "metadata": {SOURCE_RUN: f"${run_name}"},
    }
    return post(
        f"assessment {number}",
        f"{TRACES}/tr-$exp/assessments",
        {"assessment": assessment},
        keep={f"a{number}": "assessment.assessment_id"},
    )


def look(label: str, number: int) -> Ask:
    """The assessment as it is now."""
    return get(label, f"{TRACES}/tr-$exp/assessments/$a{number}")


ASSESSMENTS = Dialogue(
    "assessments that runs made",
    (
        experiment(),
        run(),
        run("second", keep="second"),
        run("third", keep="third"),
        experiment("another experiment", name="$dialogue 2", keep="elsewhere"),
        post(
            "a run elsewhere",
            "runs/create",
            {"experiment_id": "$elsewhere", "run_name": "r", "start_time": 1},
            keep={"other": "run.info.run_id"},
        ),
        trace(),
        assess(1, "run"),
        assess(2, "second"),
        assess(3, "third"),
        assess(4, "other"),
        post("delete the run", "runs/delete", {"run_id": "$run"}),
        look("its assessment", 1),
        look("that of the second", 2),
        post("restore the run", "runs/restore", {"run_id": "$run"}),
        look("its assessment after the restoring", 1),
        post("delete the experiment", "experiments/delete", {"experiment_id": "$exp"}),
        look("that of the second afterwards", 2),
        look("that of the third afterwards", 3),
        look("that of the run elsewhere afterwards", 4),
        post("delete it again", "experiments/delete", {"experiment_id": "$exp"}),
        post("restore the experiment", "experiments/restore", {"experiment_id": "$exp"}),
        look("that of the second after the restoring", 2),
        look("that of the run elsewhere after the restoring", 4),
    ),
)

DIALOGUES = (ASSESSMENTS,)
