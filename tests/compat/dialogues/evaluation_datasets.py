"""Evaluation datasets and their records: creation, tags, links to experiments, upserts, pages, deletion.

Each upsert has one record: stock lists the records of one upsert in a random order. Page tokens hold
ids and times, so they are not compared here.
"""

from __future__ import annotations

import json
from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, experiment, get, patch, post

DATASETS = "/api/3.0/mlflow/datasets"


def dataset(label: str = "a dataset", *, keep: str = "ds", **fields: Any) -> Ask:
    """Create a dataset of `$exp` and keep its id."""
    body = {"name": "$dialogue", "experiment_ids": ["$exp"]} | fields
    return post(label, f"{DATASETS}/create", body, keep={keep: "dataset.dataset_id"})


def upsert(label: str, *records: Any, **more: Any) -> Ask:
    """Write records of `$ds`."""
    body = {"records": json.dumps(records)}
    return post(label, f"{DATASETS}/$ds/records", body, pause_ms=3, **more)


def upsert_text(label: str, text: Any) -> Ask:
    """Write `records` as they are."""
    return post(label, f"{DATASETS}/$ds/records", {"records": text})


def show(label: str) -> Ask:
    """The dataset as it is now."""
    return get(label, f"{DATASETS}/$ds")


def listed(label: str, query: Any = "", **more: Any) -> Ask:
    """The records as they are now."""
    return get(label, f"{DATASETS}/$ds/records", query, **more)


def tagged(label: str, text: Any) -> Ask:
    """Create a dataset with these tags."""
    return post(label, f"{DATASETS}/create", {"name": "t", "tags": text})


CREATION = Dialogue(
    "evaluation datasets",
    (
        experiment(),
        dataset(tags=json.dumps({"team": "x", "mlflow.user": "bob"})),
        show("it"),
        dataset("another of the same name", keep="other"),
        dataset("of an unknown experiment", experiment_ids=["999"], keep="far"),
        dataset("of no experiment", experiment_ids=[], keep="free"),
        get("no experiments", f"{DATASETS}/$free/experiment-ids"),
        get("an unknown experiment", f"{DATASETS}/$far/experiment-ids"),
        dataset("an experiment twice", experiment_ids=["$exp", "$exp"]),
        post("no name", f"{DATASETS}/create", {"experiment_ids": ["$exp"]}),
        post("an empty name", f"{DATASETS}/create", {"name": ""}),
        post("a number as name", f"{DATASETS}/create", {"name": 5}),
        post(
            "ignored fields", f"{DATASETS}/create", {"name": "n", "created_by": "x", "schema": "{}"}
        ),
        post("experiments as text", f"{DATASETS}/create", {"name": "n", "experiment_ids": "1"}),
        post("an unknown field", f"{DATASETS}/create", {"name": "n", "nope": 1}),
        post("no JSON", f"{DATASETS}/create", b"{"),
        tagged("tags: no JSON", "nope"),
        tagged("tags: an object", {"a": "b"}),
        tagged("tags: a list", "[1]"),
        tagged("tags: an empty list", "[]"),
        tagged("tags: null", "null"),
        tagged("tags: a number", "5"),
        tagged("tags: a null in it", '{"a": null, "b": "c"}'),
        tagged("tags: none", ""),
        show("the dataset afterwards"),
        get("an unknown dataset", f"{DATASETS}/d-nope"),
        get("its experiments", f"{DATASETS}/d-nope/experiment-ids"),
        delete("delete it", f"{DATASETS}/$other"),
        delete("delete it again", f"{DATASETS}/$other"),
        get("it is gone", f"{DATASETS}/$other"),
        get("its links are gone", f"{DATASETS}/$other/experiment-ids"),
        post("search", f"{DATASETS}/search", {"experiment_ids": ["$exp"], "max_results": 10}),
    ),
)

TAGS_AND_LINKS = Dialogue(
    "evaluation datasets: tags and experiments",
    (
        experiment(),
        experiment("a second experiment", name="$dialogue 2", keep="second"),
        dataset(tags=json.dumps({"team": "x"})),
        patch("set tags", f"{DATASETS}/$ds/tags",
              {"tags": json.dumps({"team": "y", "k": "v", "nul": None, "n": 5, "t": True, "f": 1.0, "o": {"b": [1]}})}),
        show("with tags"),
        patch("no tags", f"{DATASETS}/$ds/tags", {"tags": "{}"}),
        patch("tags: a list", f"{DATASETS}/$ds/tags", {"tags": "[1]"}),
        patch("tags: no JSON", f"{DATASETS}/$ds/tags", {"tags": "{"}),
        patch("tags: an object", f"{DATASETS}/$ds/tags", {"tags": {"a": "b"}}),
        patch("tags missing", f"{DATASETS}/$ds/tags", {}),
        patch("tags empty", f"{DATASETS}/$ds/tags", {"tags": ""}),
        patch("tags of an unknown dataset", f"{DATASETS}/d-nope/tags", {"tags": "{}"}),
        delete("delete a tag", f"{DATASETS}/$ds/tags/k"),
        delete("delete it again", f"{DATASETS}/$ds/tags/k"),
        delete("a tag of an unknown dataset", f"{DATASETS}/d-nope/tags/k"),
        show("with fewer tags"),
        post("add experiments", f"{DATASETS}/$ds/add-experiments", {"experiment_ids": ["$second", "$exp"]}, pause_ms=3),
        get("both", f"{DATASETS}/$ds/experiment-ids"),
        post("add them again", f"{DATASETS}/$ds/add-experiments", {"experiment_ids": ["$second"]}),
        post("add none", f"{DATASETS}/$ds/add-experiments", {}),
        post("add an unknown one", f"{DATASETS}/$ds/add-experiments", {"experiment_ids": ["$exp", "999999"]}),
        post("add one in another spelling", f"{DATASETS}/$ds/add-experiments", {"experiment_ids": ["0$exp"]}),
        post("add to an unknown dataset", f"{DATASETS}/d-nope/add-experiments", {"experiment_ids": ["$exp"]}),
        post("remove", f"{DATASETS}/$ds/remove-experiments", {"experiment_ids": ["$exp", "999999"]}),
        post("remove again", f"{DATASETS}/$ds/remove-experiments", {"experiment_ids": ["$exp"]}),
        post("remove none", f"{DATASETS}/$ds/remove-experiments", {}),
        post("remove from an unknown dataset", f"{DATASETS}/d-nope/remove-experiments", {"experiment_ids": ["1"]}),
        get("one is left", f"{DATASETS}/$ds/experiment-ids"),
        show("the dataset at last"),
    ),
)  # fmt: skip

SOURCE = {"source_type": "trace", "source_data": {"trace_id": "tr-1"}}
RECORDS = Dialogue(
    "evaluation datasets: records",
    (
        experiment(),
        dataset(),
        listed("no records"),
        upsert("the first", {"inputs": {"q": "a"}, "expectations": {"x": 1}, "tags": {"t": "1", "mlflow.user": "al"}}),
        upsert("with a source", {"inputs": {"q": "b"}, "outputs": {"o": True}, "source": SOURCE}),
        upsert("a known one", {"inputs": {"q": "a"}, "expectations": {"y": [1], "x": 2}, "tags": {"u": None},
                               "outputs": None}),
        show("schema and profile"),
        upsert("twice the same", {"inputs": {"a": 1, "b": 2}}, {"inputs": {"b": 2, "a": 1}, "outputs": "z"}),
        upsert("no inputs", {"expectations": {"x": 1}, "unknown": 5}),
        upsert("known, nothing new", {"inputs": {"q": "b"}, "expectations": {}, "tags": {}}),
        upsert("by another user", {"inputs": {"q": "a"}, "tags": {"mlflow.user": "bo"}}),
        upsert("other characters", {"inputs": {"\u00e9\ud83d\ude00": "\u00fc\"\\\n", "f": 1.0, "b": 1e100, "n": None}}),
        upsert("a human source", {"inputs": {"h": 1}, "source": {"source_type": "HUMAN", "source_data": {"source_id": "me"}}}),
        upsert("a source without data", {"inputs": {"h": 2}, "source": {"source_type": "CODE"}}),
        upsert("an empty source", {"inputs": {"h": 3}, "source": {}}),
        upsert("nulls", {"inputs": {"h": 4}, "source": None, "expectations": None, "tags": None, "outputs": None}),
        upsert("a number as user", {"inputs": {"h": 5}, "tags": {"mlflow.user": 5}}),
        upsert("nested", {"inputs": {"l": [{"a": [1, 2.5, None, True]}], "o": {}}, "outputs": {"l": []}}),
        upsert("empty texts", {"inputs": {"": ""}, "tags": {"": ""}, "expectations": {"": ""}}),
        upsert("NUL in a value", {"inputs": {"z": "a\0b"}}),
        upsert("an empty list"),
        listed("all"),
        show("the dataset"),
        listed("zero", {"max_results": 0}),
        listed("a negative page", {"max_results": -1}),
        listed("an empty token", {"page_token": ""}),
        listed("a number as token", {"page_token": "3"}),
        listed("a token that is none", {"page_token": "zz"}),
        get("of an unknown dataset", f"{DATASETS}/d-nope/records"),
        upsert("a source of an unknown type", {"inputs": {"w": 1}, "source": {"source_type": "nope"}}),
        upsert("a text as source", {"inputs": {"w": 1}, "source": "text"}),
        upsert("a source with another field", {"inputs": {"w": 1}, "source": {"source_type": "CODE", "x": 1}}),
        upsert("a source without type", {"inputs": {"w": 1}, "source": {"source_data": {}}}),
        upsert("null inputs", {"inputs": None}),
        upsert("a list as inputs", {"inputs": [1]}),
        upsert("a list as expectations", {"inputs": {"w": 1}, "expectations": []}),
        upsert("a list as tags", {"inputs": {"w": 1}, "tags": [1]}),
        upsert("a number as record", 5),
        upsert_text("an object", '{"a": 1}'),
        upsert_text("null", "null"),
        upsert_text("not JSON", "nope"),
        upsert_text("a list", []),
        upsert_text("empty", ""),
        post("missing", f"{DATASETS}/$ds/records", {}),
        post("an unknown dataset", f"{DATASETS}/d-nope/records", {"records": json.dumps([{"inputs": {}}])}),
        listed("nothing more"),
    ),
)  # fmt: skip

OUTPUTS = Dialogue(
    "evaluation datasets: outputs that are no object",
    (
        experiment(),
        dataset(),
        upsert("a text", {"inputs": {"n": 1}, "outputs": "text"}),
        show("its type"),
        upsert("a list", {"inputs": {"n": 2}, "outputs": [1]}),
        upsert("an object", {"inputs": {"n": 3}, "outputs": {"a": 1}}),
        dataset("a second one", keep="ds"),
        upsert("first an object", {"inputs": {"n": 1}, "outputs": {"a": 1}}),
        upsert("then a number", {"inputs": {"n": 2}, "outputs": 1}),
        upsert("another object", {"inputs": {"n": 3}, "outputs": {"b": None}}),
        show("the first type stays"),
        dataset("a third one", keep="ds"),
        upsert("an empty object", {"inputs": {"n": 1}, "outputs": {}}),
        upsert("false", {"inputs": {"n": 2}, "outputs": False}),
        show("the type of false"),
    ),
)

DELETION = Dialogue(
    "evaluation datasets: deleted records",
    (
        experiment(),
        dataset(),
        upsert("one", {"inputs": {"n": 1}}),
        upsert("two", {"inputs": {"n": 2}}),
        delete("unknown records", f"{DATASETS}/$ds/records", {"dataset_record_ids": ["dr-nope"]}),
        delete("no records", f"{DATASETS}/$ds/records", {}),
        delete("a text", f"{DATASETS}/$ds/records", {"dataset_record_ids": "dr-nope"}),
        delete("of an unknown dataset", f"{DATASETS}/d-nope/records", {"dataset_record_ids": ["dr-nope"]}),
        show("both are there"),
        delete("delete the dataset", f"{DATASETS}/$ds"),
        listed("its records are gone"),
    ),
)  # fmt: skip

DIALOGUES = (CREATION, TAGS_AND_LINKS, RECORDS, OUTPUTS, DELETION)
