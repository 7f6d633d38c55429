"""Datasets, scorers, label schemas and review queues through the client. Runs under mlflow 3.4 to 3.18.

Arguments: the name of an experiment, and the act. The first act creates everything, the second reads,
changes and deletes. Prints as JSON what the client read, without ids and times.
"""

import json
import sys
from typing import Any

import mlflow
from mlflow.genai import datasets
from mlflow.genai.judges import make_judge
from mlflow.genai.scorers import Guidelines, Safety, delete_scorer, get_scorer, list_scorers
from mlflow.genai.scorers.registry import list_scorer_versions

try:
    from mlflow.genai import review_queues
    from mlflow.genai.label_schemas import (
        InputCategorical,
        InputNumeric,
        create_label_schema,
        delete_label_schema,
        list_label_schemas,
        update_label_schema,
    )
except ImportError:  # the servers of those releases have none
    review_queues = None  # type: ignore[assignment]
OF_RANDOM = ("dataset_id", "dataset_record_id", "created_time", "last_update_time", "digest")
JUDGE = "Is {{ outputs }} an answer to {{ inputs }}?"


def plain(value: Any) -> Any:
    """A value as JSON, without what is random."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in OF_RANDOM}
    return [plain(item) for item in value] if isinstance(value, list) else value


def dataset_of(experiment_id: str, name: str) -> Any:
    """The dataset with this name, which is found by a search."""
    found = datasets.search_datasets([experiment_id], filter_string=f"name = '{name}'")
    return next(iter(found))


def shown(dataset: Any) -> Any:
    """A dataset with its records, in the order of their inputs."""
    table = dataset.to_df()
    rows = [plain(row) for row in table.to_dict("records")]
    return {
        "name": dataset.name,
        "tags": dataset.tags,
        "schema": dataset.schema,
        "profile": dataset.profile,
        "experiments": len(dataset.experiment_ids),
        "rows": sorted(rows, key=lambda row: json.dumps(row["inputs"])),
        "columns": list(table.columns),
    }


def first_act(experiment_id: str) -> Any:
    """Create everything."""
    dataset = datasets.create_dataset("questions", experiment_id, {"team": "search", "n": "1"})
    dataset.merge_records(
        [
            {"inputs": {"q": f"question {n}", "n": n}, "expectations": {"answer": str(n)}}
            for n in range(120)
        ]
    )
    again = {"inputs": {"q": "question 3", "n": 3}, "expectations": {"short": True}}
    human = {"source_type": "HUMAN", "source_data": {"user": "ann"}}
    dataset.merge_records(
        [again, {"inputs": {"q": "é"}, "expectations": {"a": [1]}, "source": human}]
    )
    datasets.create_dataset("answers", experiment_id)
    Guidelines(name="polite", guidelines=["Be polite."]).register(experiment_id=experiment_id)
    Guidelines(name="polite", guidelines=["Be kind."]).register(experiment_id=experiment_id)
    Safety(name="safe").register(experiment_id=experiment_id)
    judge = make_judge(name="judge", instructions=JUDGE, model="openai:/gpt-4o-mini")
    judge.register(experiment_id=experiment_id)
    if review_queues is not None:
        create_label_schema(
            "tone", type="feedback", input=InputCategorical(options=["good", "bad"]),
            instruction="How does it sound?", experiment_id=experiment_id,
        )  # fmt: skip
        create_label_schema(
            "stars", type="feedback", input=InputNumeric(min_value=0, max_value=5),
            experiment_id=experiment_id,
        )  # fmt: skip
        queue = review_queues.create_review_queue(
            "first", queue_type="custom", users=["Ann"], experiment_id=experiment_id
        )
        items = [trace.info.trace_id for trace in traces(experiment_id)]
        review_queues.add_items_to_review_queue(queue.queue_id, item_ids=items)
        review_queues.get_or_create_user_queue("bob", experiment_id=experiment_id)
    return shown(dataset_of(experiment_id, "questions"))


def traces(experiment_id: str) -> Any:
    """Two traces of the experiment, which the first call makes."""
    mlflow.set_experiment(experiment_id=experiment_id)
    if not mlflow.search_traces(experiment_ids=[experiment_id], return_type="list"):
        for n in range(2):
            with mlflow.start_span(f"trace {n}") as span:
                span.set_inputs({"q": n})
        mlflow.flush_trace_async_logging()
    return mlflow.search_traces(experiment_ids=[experiment_id], return_type="list")


def scorer(one: Any) -> Any:
    """A scorer without its id."""
    data = one.model_dump()
    part = data.get("builtin_scorer_pydantic_data") or {}
    if "required_columns" in part:  # the client sends them in any order
        part["required_columns"] = sorted(part["required_columns"])
    return {
        key: value for key, value in data.items() if not key.startswith("_") and "time" not in key
    }


def second_act(experiment_id: str) -> Any:
    """Read, change, delete."""
    dataset = dataset_of(experiment_id, "questions")
    before = shown(dataset)
    dataset.merge_records([{"inputs": {"q": "question 5", "n": 5}, "expectations": {"b": 2.5}}])
    datasets.set_dataset_tags(dataset.dataset_id, {"team": "find", "new": "x"})
    datasets.delete_dataset_tag(dataset.dataset_id, "n")
    told: dict[str, Any] = {
        "before": before,
        "after": shown(datasets.get_dataset(dataset_id=dataset.dataset_id)),
        "names": [
            found.name
            for found in datasets.search_datasets([experiment_id], order_by=["name DESC"])
        ],
        "scorers": [scorer(one) for one in list_scorers(experiment_id=experiment_id)],
        "versions": [
            [scorer(one), version]
            for one, version in list_scorer_versions(name="polite", experiment_id=experiment_id)
        ],
        "first": scorer(get_scorer(name="polite", experiment_id=experiment_id, version=1)),
        "judge": scorer(get_scorer(name="judge", experiment_id=experiment_id)),
    }
    if hasattr(dataset, "delete_records"):
        last = dataset.to_df()["dataset_record_id"].iloc[-1]
        told["deleted"] = dataset.delete_records([last, "dr-none"])
    delete_scorer(name="polite", experiment_id=experiment_id, version=2)
    delete_scorer(name="safe", experiment_id=experiment_id, version="all")
    told["left"] = [one.name for one in list_scorers(experiment_id=experiment_id)]
    datasets.delete_dataset(dataset_id=dataset_of(experiment_id, "answers").dataset_id)
    told["datasets"] = [found.name for found in datasets.search_datasets([experiment_id])]
    if review_queues is not None:
        told["reviews"] = reviews(experiment_id)
    return told


def reviews(experiment_id: str) -> Any:
    """Read, change and delete label schemas and review queues."""

    def schemas() -> Any:
        found = list_label_schemas(experiment_id)
        return sorted([one.name, str(one.type), repr(one.input), one.instruction] for one in found)

    def queues() -> Any:
        found = review_queues.list_review_queues(experiment_id=experiment_id)
        return sorted([one.name, str(one.queue_type), one.users] for one in found)

    def items(queue_id: str) -> Any:
        found = review_queues.list_review_queue_items(queue_id)
        return sorted([str(one.status), one.completed_by or ""] for one in found)

    before = [schemas(), queues()]
    by_name = {one.name: one for one in list_label_schemas(experiment_id)}
    update_label_schema(by_name["tone"].schema_id, instruction="Does it sound good?")
    delete_label_schema(schema_id=by_name["stars"].schema_id)
    queue = review_queues.get_review_queue(name="first", experiment_id=experiment_id)
    (first, *_) = review_queues.list_review_queue_items(queue.queue_id)
    review_queues.set_review_queue_item_status(
        queue.queue_id, item_id=first.item_id, status="complete", completed_by="ann"
    )
    read = [items(queue.queue_id)]
    review_queues.remove_items_from_review_queue(queue.queue_id, item_ids=[first.item_id])
    read.append(items(queue.queue_id))
    review_queues.update_review_queue(queue.queue_id, name="renamed")
    after = [schemas(), queues()]
    review_queues.delete_review_queue(queue.queue_id)
    return [before, read, after, queues()]


def main(name: str, act: str) -> Any:
    """Play an act in the experiment with this name."""
    found = mlflow.get_experiment_by_name(name)
    experiment_id = mlflow.create_experiment(name) if found is None else found.experiment_id
    return first_act(experiment_id) if act == "1" else second_act(experiment_id)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), default=str))  # noqa: T201
