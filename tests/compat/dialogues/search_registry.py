"""registered-models/search and model-versions/search: filters, ordering, paging, and what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, get, patch, post
from tests.compat.dialogues.registered_models import model, stage, version

LISTS = ("latest_versions", "tags", "aliases")


def searched(kind: str, label: str, **query: Any) -> Ask:
    """Search models or versions; results in order, the lists inside them in any."""
    return get(label, f"{kind}/search", query, unordered=LISTS)


def models(label: str, **query: Any) -> Ask:
    """Search registered models."""
    return searched("registered-models", label, **query)


def versions(label: str, **query: Any) -> Ask:
    """Search model versions."""
    return searched("model-versions", label, **query)


def later(ask: Ask) -> Ask:
    """The request, some milliseconds after the one before: times of creation differ."""
    return replace(ask, pause_ms=4)


MODEL_FILTERS = (
    "",
    " ",
    "name = 'zoo-a'",
    'name = "zoo-a"',
    "name='zoo-a'",
    "NAME = 'zoo-a'",
    "attribute.name = 'zoo-a'",
    "attributes.name = 'zoo-a'",
    "attr.name = 'zoo-a'",
    "`name` = 'zoo-a'",
    "attribute.`name` = 'zoo-a'",
    "name != 'zoo-a' AND name LIKE 'zoo%'",
    "name LIKE 'zoo-%'",
    "name like 'zoo-%'",
    "name LIKE 'ZOO-%'",
    "name ILIKE 'ZOO-%'",
    "name ilike '%A'",
    "name LIKE 'zoo_a'",
    "name IN ('zoo-a', 'zoo-c', 'nobody')",
    "name in ('zoo-a')",
    "name NOT IN ('zoo-a') AND name LIKE 'zoo%'",
    "name IN ()",
    "name IN (1)",
    "name = ('zoo-a')",
    "name = 1",
    "name > 'a'",
    "name IS NULL",
    "name RLIKE 'zoo.*'",
    "name = zoo",
    "name = 'zoo-a' OR name = 'zoo-b'",
    "NOT name = 'zoo-a'",
    "(name = 'zoo-a')",
    "name = 'zoo-a' AND",
    "name == 'zoo-a'",
    "name <> 'zoo-a'",
    "name",
    "'zoo-a' = name",
    "name = 'it''s'",
    "name = 'zoo-a'; name = 'zoo-b'",
    "tags.team = 'x'",
    "tag.team = 'x'",
    "tags.team != 'x'",
    "tags.team LIKE '%x%'",
    "tags.team ILIKE 'X'",
    "tags.`team` = 'x'",
    "tags.\"team\" = 'x'",
    "tags.`with space` = 'y'",
    "tags.with.dots = 'z'",
    "tags.team = 'x' AND tags.level = '1'",
    "tags.team = 'x' AND tags.team != 'y'",
    "tags.team = 'x' AND tags.team = 'y'",
    "tags.team = 'x' AND name = 'zoo-a'",
    "tags.team IN ('x')",
    "tags.team IS NULL",
    "tags.level = 1",
    "tags.team > 'a'",
    "tags.nobody = 'x'",
    "bogus = 'x'",
    "bogus.name = 'x'",
    "metrics.m > 1",
    "params.p = 'x'",
    "creation_timestamp > 0",
    "last_updated_timestamp > 0",
    "description = 'd'",
    "attribute.bogus = 'x'",
    ".name = 'x'",
    "name. = 'x'",
    "version_number = 1",
)
MODEL_ORDERS = (
    ["name"],
    ["name ASC"],
    ["name DESC"],
    ["name desc"],
    ["NAME"],
    ["timestamp"],
    ["timestamp DESC"],
    ["last_updated_timestamp"],
    ["last_updated_timestamp DESC"],
    ["last_updated_timestamp", "name DESC"],
    ["last_updated_timestamp", "timestamp"],
    ["name", "name DESC"],
    ["creation_timestamp"],
    ["attribute.name"],
    ["tags.team"],
    ["bogus"],
    ["name UP"],
    ["name ASC DESC"],
    [""],
    ["`name` DESC"],
    ["'name'"],
)
LIMITS = (
    "0",
    "-1",
    "1",
    "2",
    "1000",
    "1001",
    "200000",
    "200001",
    "abc",
    "1.0",
    "1.5",
    "",
    "9" * 20,
)
TOKENS = {
    "not base64": "a",
    "not JSON": "YWJj",
    "zero": "eyJvZmZzZXQiOiAwfQ==",
    "one": "eyJvZmZzZXQiOiAxfQ==",
    "beyond": "eyJvZmZzZXQiOiAxMDAwMH0=",
    "no alphabet": "!!",
    "empty": "",
}
ZOO = (
    later(
        model(
            "zoo a", "zoo-a", tags=[{"key": "team", "value": "x"}, {"key": "level", "value": "1"}]
        )
    ),
    later(model("zoo c", "zoo-c", tags=[{"key": "team", "value": "y"}], description="d")),
    later(
        model(
            "zoo b",
            "zoo-b",
            tags=[{"key": "with space", "value": "y"}, {"key": "team", "value": "xx"}],
        )
    ),
    later(model("Zoo upper", "Zoo-d", tags=[{"key": "with.dots", "value": "z"}])),
    later(
        model(
            "zoo prompt",
            "zoo-p",
            tags=[
                {"key": "mlflow.prompt.is_prompt", "value": "true"},
                {"key": "team", "value": "x"},
            ],
        )
    ),
    later(version("a 1", "zoo-a", run_id="r1", tags=[{"key": "team", "value": "x"}])),
    later(
        version(
            "a 2",
            "zoo-a",
            run_id="r2",
            source="s3://other/p",
            tags=[{"key": "with space", "value": "y"}],
        )
    ),
    later(version("b 1", "zoo-b", run_id="r1", description="d")),
    later(version("a 3", "zoo-a")),
    later(
        version(
            "c 1", "zoo-c", tags=[{"key": "team", "value": "y"}, {"key": "level", "value": "1"}]
        )
    ),
    later(
        version(
            "prompt 1",
            "zoo-p",
            source="dummy-source",
            tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}],
        )
    ),
    later(
        post(
            "stage",
            "model-versions/transition-stage",
            {"name": "zoo-a", "version": "2", "stage": "Production"},
        )
    ),
    later(
        post("alias", "registered-models/alias", {"name": "zoo-a", "alias": "al", "version": "2"})
    ),
    later(patch("describe", "registered-models/update", {"name": "zoo-c", "description": "e"})),
)
MODELS = Dialogue(
    "search registered models",
    (
        *ZOO,
        *(models(f"filter {text}", filter=text) for text in MODEL_FILTERS if text.strip()),
        models("no filter, only ours", filter="name ILIKE 'zoo%'"),
        *(
            models(f"order by {order}", filter="name ILIKE 'zoo%'", order_by=order)
            for order in MODEL_ORDERS
        ),
        *(
            models(f"max results {limit}", filter="name ILIKE 'zoo%'", max_results=limit)
            for limit in LIMITS
        ),
        *(
            models(f"token {label}", filter="name ILIKE 'zoo%'", max_results="2", page_token=token)
            for label, token in TOKENS.items()
        ),
        models("last page", filter="name ILIKE 'zoo%'", max_results="3", page_token=TOKENS["one"]),
        models("exact page", filter="name ILIKE 'zoo%'", max_results="4"),
        models("bad filter and order", filter="bogus = 'x'", order_by="bogus"),
        models("bad order and token", order_by="bogus", page_token="a"),
        models("bad operator and order", filter="name > 'x'", order_by="bogus"),
        models("two filters", filter=["name = 'zoo-a'", "name = 'zoo-b'"]),
        post("by POST", "registered-models/search", {"filter": "name = 'zoo-a'"}),
    ),
)
VERSION_FILTERS = (
    *(text for text in MODEL_FILTERS if text.strip() and text != "version_number = 1"),
    "run_id = 'r1'",
    "run_id != 'r1' AND name LIKE 'zoo%'",
    "run_id IN ('r1', 'r2')",
    "run_id NOT IN ('r1') AND name LIKE 'zoo%'",
    "run_id LIKE 'r%'",
    "run_id = 1",
    "source_path = 's3://other/p'",
    "source_path LIKE 's3://other%'",
    "source_path IN ('s3://other/p')",
    "source = 's3://other/p'",
    "name LIKE 'zoo%' AND version_number = 1",
    "name LIKE 'zoo%' AND version_number != 1",
    "name LIKE 'zoo%' AND version_number > 1",
    "name LIKE 'zoo%' AND version_number >= 1 AND version_number < 3",
    "name LIKE 'zoo%' AND version_number <= 2",
    "name LIKE 'zoo%' AND version_number = '1'",
    "name LIKE 'zoo%' AND version_number = 1.0",
    "name LIKE 'zoo%' AND version_number = 1.5",
    "name LIKE 'zoo%' AND version_number = 'x'",
    "version_number IN (1, 2)",
    "version_number IN ('1')",
    "version_number LIKE '1'",
    "version_number = -1",
    "name LIKE 'zoo%' AND attribute.version_number = 1",
    "current_stage = 'Production'",
    "user_id = 'x'",
    "status = 'READY'",
    "tags.team = 'x' AND run_id = 'r1'",
)
VERSION_ORDERS = (
    *MODEL_ORDERS,
    ["version_number"],
    ["version_number DESC", "name"],
    ["creation_timestamp DESC"],
    ["attribute.version_number"],
    ["attributes.name DESC"],
    ["run_id"],
    ["source_path"],
    ["version"],
)
VERSIONS = Dialogue(
    "search model versions",
    (
        *(versions(f"filter {text}", filter=text) for text in VERSION_FILTERS),
        *(
            versions(f"order by {order}", filter="name LIKE 'zoo%'", order_by=order)
            for order in VERSION_ORDERS
        ),
        *(
            versions(f"max results {limit}", filter="name LIKE 'zoo%'", max_results=limit)
            for limit in LIMITS
        ),
        *(
            versions(f"token {label}", filter="name LIKE 'zoo%'", max_results="2", page_token=token)
            for label, token in TOKENS.items()
        ),
        versions("exact page", filter="name LIKE 'zoo%'", max_results="5"),
        versions("bad filter and order", filter="bogus = 'x'", order_by="bogus"),
        versions("bad operator and order", filter="name > 'x'", order_by="bogus"),
        versions("bad order and token", order_by="bogus", page_token="a"),
        versions("bad limit and filter", max_results="0", filter="bogus = 'x'"),
        delete("delete a version", "model-versions/delete", {"name": "zoo-a", "version": "2"}),
        versions("without the deleted", filter="name = 'zoo-a'"),
        versions("deleted by run", filter="run_id = 'r2'"),
        models("latest without the deleted", filter="name = 'zoo-a'"),
        later(stage("unknown stage", 1, "bogus")),
    ),
)

DIALOGUES = (MODELS, VERSIONS)
