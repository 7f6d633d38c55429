"""logged-models/search: filters, datasets, ordering, paging, and what is wrong."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, experiment, post, run

LISTS = ("tags", "params", "metrics")


def search(label: str, **fields: Any) -> Ask:
    """Search `$exp`."""
    body = {"experiment_ids": ["$exp"]} | fields
    return post(label, "logged-models/search", body, unordered=LISTS)


def made(name: str, *, metrics: tuple[tuple[Any, ...], ...] = (), **fields: Any) -> tuple[Ask, ...]:
    """Create a model kept as `$name`, with metrics (key, value, timestamp, step, dataset)."""
    create = post(
        f"create {name}",
        "logged-models",
        {"experiment_id": "$exp", "name": name} | fields,
        keep={name: "model.info.model_id"},
    )
    points = [
        {"key": key, "value": value, "timestamp": timestamp, "step": step, "model_id": f"${name}"}
        | ({"dataset_name": dataset, "dataset_digest": "d-" + dataset} if dataset else {})
        for key, value, timestamp, step, dataset in metrics
    ]
    log = post(f"metrics of {name}", "runs/log-batch", {"run_id": "$run", "metrics": points})
    return (replace(create, pause_ms=4, unordered=LISTS), log)


def pairs(**items: str) -> list[dict[str, str]]:
    """Params or tags."""
    return [{"key": key, "value": value} for key, value in items.items()]


ZOO = (
    experiment(),
    run(),
    *made(
        "ant",
        model_type="sk",
        source_run_id="$run",
        params=pairs(lr="0.1", depth="3"),
        tags=pairs(team="x"),
        metrics=(("acc", 0.5, 1, 0, ""), ("acc", 0.9, 2, 1, "train"), ("loss", 3, 1, 0, "")),
    ),
    *made(
        "bee",
        model_type="torch",
        params=pairs(lr="0.2"),
        tags=pairs(team="y", level="1"),
        metrics=(
            ("acc", 0.7, 1, 0, "train"),
            ("acc", 0.6, 1, 1, "test"),
            ("loss", 1, 9, 0, "test"),
        ),
    ),
    *made("cat", tags=pairs(team="X"), metrics=(("acc", 0.8, 5, 0, ""), ("nan", "NaN", 1, 0, ""))),
    *made("Dog", params=pairs(lr="0.1")),
    post(
        "a deleted one",
        "logged-models",
        {"experiment_id": "$exp", "name": "gone"},
        keep={"gone": "model.info.model_id"},
    ),
    delete("delete it", "logged-models/$gone"),
)
FILTERS = (
    "name = 'ant'",
    'name = "ant"',
    "name = ant",
    "name='ant'",
    "NAME = 'ant'",
    "`name` = 'ant'",
    "attributes.name = 'ant'",
    "attribute.name = 'ant'",
    "attributes.`name` = 'ant'",
    "name != 'ant'",
    "name LIKE '%a%'",
    "name like 'a%'",
    "name ILIKE 'd%'",
    "name IN ('ant', 'bee')",
    "name NOT IN ('ant', 'bee')",
    "name IN ()",
    "name > 'a'",
    "name IS NULL",
    "name = 1",
    "model_type = 'sk'",
    "model_type != 'sk'",
    "model_type = ''",
    "source_run_id = '$run'",
    "model_id = '$ant'",
    "model_id IN ('$ant', '$bee')",
    "status = 1",
    "status = '1'",
    "status = 2",
    "status IN (1, 2)",
    "status != 1",
    "status > 0",
    "experiment_id = $exp",
    "lifecycle_stage = 'active'",
    "lifecycle_stage = 'deleted'",
    "artifact_location LIKE '%models%'",
    "creation_timestamp > 0",
    "creation_time > 0",
    "creation_timestamp_ms > 0",
    "attributes.creation_timestamp > 0",
    "last_updated_timestamp > 0",
    "last_updated_timestamp_ms < 0",
    "creation_timestamp = 'x'",
    "creation_timestamp LIKE '1'",
    "creation_timestamp > 1.5",
    "metrics.acc > 0.5",
    "metrics.acc >= 0.9",
    "metrics.acc < 0.55",
    "metrics.acc != 0.9",
    "metrics.acc = 0.6",
    "metrics.acc > '0.5'",
    "metrics.acc > x",
    "metrics.acc LIKE '1'",
    "metrics.nan = 0",
    "metrics.`acc` > 0.85",
    "metrics.acc > 0.5 AND metrics.loss < 2",
    "metrics.acc > 0.5 and metrics.acc < 0.6",
    "metric.acc > 0.5",
    "params.lr = '0.1'",
    "params.lr = 0.1",
    "params.lr != '0.1'",
    "params.lr LIKE '0.%'",
    "params.lr IN ('0.1', '0.3')",
    "params.lr IS NULL",
    "params.lr > '0'",
    "param.lr = '0.1'",
    "params.`lr` = '0.1'",
    "tags.team = 'x'",
    "tags.team ILIKE 'x'",
    "tags.team != 'x'",
    "tags.team IN ('x', 'y')",
    "tags.team = 'x' AND params.lr = '0.1' AND metrics.acc > 0.8",
    "tags.team = 'y' AND tags.level = '1'",
    "tag.team = 'x'",
    "name = 'ant' OR name = 'bee'",
    "NOT name = 'ant'",
    "(name = 'ant')",
    "name = 'ant' AND",
    "AND name = 'ant'",
    "name = 'ant'; name = 'bee'",
    "bogus = 'x'",
    "attributes.bogus = 'x'",
    "bogus.x = 1",
    "name",
    "'ant' = name",
    "1 = 1",
    "name == 'ant'",
    "name <> 'ant'",
    "name = 'it''s'",
    " ",
)
ORDERS: dict[str, list[dict[str, Any]]] = {
    "name": [{"field_name": "name"}],
    "name down": [{"field_name": "name", "ascending": False}],
    "name up": [{"field_name": "name", "ascending": True}],
    "creation_timestamp": [{"field_name": "creation_timestamp"}],
    "creation_time": [{"field_name": "creation_time"}],
    "creation_timestamp_ms": [{"field_name": "creation_timestamp_ms"}],
    "last_updated_timestamp": [{"field_name": "last_updated_timestamp", "ascending": False}],
    "model_type": [{"field_name": "model_type"}],
    "status and name": [{"field_name": "status"}, {"field_name": "name"}],
    "name twice": [{"field_name": "name"}, {"field_name": "name", "ascending": False}],
    "acc": [{"field_name": "metrics.acc"}],
    "acc down": [{"field_name": "metrics.acc", "ascending": False}],
    "acc of train": [{"field_name": "metrics.acc", "dataset_name": "train"}],
    "acc of train down": [
        {
            "field_name": "metrics.acc",
            "ascending": False,
            "dataset_name": "train",
            "dataset_digest": "d-train",
        }
    ],
    "acc of another digest": [
        {"field_name": "metrics.acc", "dataset_name": "train", "dataset_digest": "x"}
    ],
    "loss, then acc": [{"field_name": "metrics.loss"}, {"field_name": "metrics.acc"}],
    "unknown metric": [{"field_name": "metrics.bogus"}],
    "quoted metric": [{"field_name": "metrics.`acc`"}],
    "empty": [],
    "bogus": [{"field_name": "bogus"}],
    "attributes.name": [{"field_name": "attributes.name"}],
    "params.lr": [{"field_name": "params.lr"}],
    "tags.team": [{"field_name": "tags.team"}],
    "no field": [{"ascending": True}],
    "empty field": [{"field_name": ""}],
    "upper case": [{"field_name": "NAME"}],
}
BAD: dict[str, dict[str, Any]] = {
    "no experiments": {"experiment_ids": []},
    "null experiments": {"experiment_ids": None},
    "experiment as text": {"experiment_ids": "$exp"},
    "experiments as numbers": {"experiment_ids": [1]},
    "abc as experiment": {"experiment_ids": ["abc"]},
    "unknown experiment": {"experiment_ids": ["999999"]},
    "huge experiment": {"experiment_ids": ["9" * 20]},
    "filter as number": {"filter": 1},
    "datasets as object": {"datasets": {"dataset_name": "train"}},
    "dataset without name": {"datasets": [{"dataset_digest": "x"}]},
    "dataset with empty name": {"datasets": [{"dataset_name": ""}]},
    "order as text": {"order_by": "name"},
    "order as list of text": {"order_by": ["name"]},
    "ascending as text": {"order_by": [{"field_name": "name", "ascending": "x"}]},
    "negative limit": {"max_results": -1},
    "limit as text": {"max_results": "2"},
    "limit as words": {"max_results": "two"},
    "fraction as limit": {"max_results": 1.5},
    "huge limit": {"max_results": 2**31},
    "token as number": {"page_token": 1},
}


def token(**content: Any) -> str:
    """A page token of that content."""
    return base64.b64encode(json.dumps(content).encode()).decode()


TOKENS = {
    "not base64": "a",
    "not JSON": "YWJj",
    "not UTF-8": base64.b64encode(b"\xff").decode(),
    "a list": base64.b64encode(b"[]").decode(),
    "nothing": token(),
    "of other experiments": token(experiment_ids=["999999"], offset=1),
    "empty": "",
}
SEARCH = Dialogue(
    "search logged models",
    (
        *ZOO,
        search("all"),
        *(search(f"filter {text}", filter=text) for text in FILTERS),
        search("empty filter", filter=""),
        *(search(f"order by {label}", order_by=order) for label, order in ORDERS.items()),
        search("dataset", datasets=[{"dataset_name": "train"}]),
        search(
            "dataset and digest", datasets=[{"dataset_name": "train", "dataset_digest": "d-train"}]
        ),
        search(
            "dataset and wrong digest", datasets=[{"dataset_name": "train", "dataset_digest": "x"}]
        ),
        search(
            "two datasets",
            datasets=[
                {"dataset_name": "train", "dataset_digest": "d-train"},
                {"dataset_name": "test", "dataset_digest": "d-test"},
            ],
        ),
        search(
            "metric on a dataset",
            filter="metrics.acc > 0.65",
            datasets=[{"dataset_name": "train", "dataset_digest": "d-train"}],
        ),
        search(
            "metric on the other dataset",
            filter="metrics.acc > 0.65",
            datasets=[{"dataset_name": "test", "dataset_digest": "d-test"}],
        ),
        *(search(f"bad: {label}", **fields) for label, fields in BAD.items()),
        *(search(f"token {label}", page_token=text) for label, text in TOKENS.items()),
        replace(search("page 1", max_results=3), keep={"next": "next_page_token"}),
        search("page 2", max_results=3, page_token="$next"),
        search(
            "page 2 with another filter", max_results=3, filter="name != 'x'", page_token="$next"
        ),
        search(
            "page 2 with an order",
            max_results=3,
            order_by=[{"field_name": "name"}],
            page_token="$next",
        ),
        search("exact page", max_results=4),
        search("limit 0", max_results=0),
        replace(
            search(
                "page 1 of an order",
                max_results=1,
                order_by=[{"field_name": "metrics.acc"}],
                filter="name LIKE '%'",
            ),
            keep={"ordered": "next_page_token"},
        ),
        search(
            "page 2 of an order",
            max_results=1,
            order_by=[{"field_name": "metrics.acc", "ascending": True}],
            filter="name LIKE '%'",
            page_token="$ordered",
        ),
        search(
            "page 2 of another order",
            max_results=1,
            order_by=[{"field_name": "metrics.acc", "ascending": False}],
            filter="name LIKE '%'",
            page_token="$ordered",
        ),
        post("no body", "logged-models/search"),
    ),
)

DIALOGUES = (SEARCH,)
