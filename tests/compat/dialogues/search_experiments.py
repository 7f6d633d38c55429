"""experiments/search, by POST and by GET: filters, ordering, paging, view types, wrong requests."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, get, post

# Servers hold experiments of other dialogues too, so every search is narrowed to names of this one.
OURS = "name LIKE 'sx %'"


def search(label: str, **fields: Any) -> Ask:
    body = {"max_results": 100, "filter": OURS, "order_by": ["name"]} | fields
    return post(label, "experiments/search", body, unordered=("tags",))


def filtered(text: str) -> Ask:
    return search(f"filter {text}", filter=f"{OURS} AND {text}")


def bare(text: str) -> Ask:
    return search(f"bare filter {text}", filter=text)


def create(name: str, **tags: str) -> Ask:
    return post(
        f"create {name}",
        "experiments/create",
        {"name": f"sx {name}", "tags": [{"key": k, "value": v} for k, v in tags.items()]},
        keep={name.lower().replace(" ", "_"): "experiment_id"},
        pause_ms=3,
    )


POPULATION = (
    create("Alpha", team="x", stage="prod"),
    create("beta", team="X"),
    create("gamma", note="50%", **{"with.dots": "1", "with space": "2"}),
    create("delta 'quoted'", empty=""),
    create("ünï"),
    create("gone", team="x"),
    post("delete gone", "experiments/delete", {"experiment_id": "$gone"}),
    post("touch beta", "experiments/update", {"experiment_id": "$beta", "new_name": "sx beta"}, pause_ms=3),
)  # fmt: skip

FILTERS = (
    "name = 'sx beta'",
    'name = "sx beta"',
    "name != 'sx beta'",
    "name = 'SX BETA'",
    "name LIKE '%a'",
    "name LIKE '%A%'",
    "name ILIKE '%A%'",
    "name LIKE 'sx _eta'",
    "name ILIKE 'SX Ü%'",
    "name LIKE 'sx ü%'",
    "attribute.name = 'sx beta'",
    "attribute.`name` = 'sx beta'",
    "`name` = 'sx beta'",
    "name = \"sx delta 'quoted'\"",
    "tags.team = 'x'",
    "tags.team != 'x'",
    "tag.team = 'x'",
    "tags.`team` = 'x'",
    "tags.\"team\" = 'x'",
    "tags.team LIKE 'x'",
    "tags.team ILIKE 'x'",
    "tags.with.dots = '1'",
    "tags.`with space` = '2'",
    "tags.note LIKE '50%'",
    "tags.empty = ''",
    "tags.team IS NULL",
    "tags.team is null",
    "tags.team IS NOT NULL",
    "tags.nope IS NULL",
    "tags.nope != 'x'",
    "tags.team = 'x' AND tags.stage = 'prod'",
    "tags.team = 'x' and tags.stage = 'prod'",
    "creation_time > 0",
    "creation_time < 5",
    "creation_time < 9223372036854775808",
    "creation_time >= 1700000000000 AND last_update_time >= 1700000000000",
    "attribute.last_update_time != 0",
    "AND name = 'sx beta'",
    "name = 'sx beta' AND",
    "experiment_id = '$beta'",
    "experiment_id != '$beta'",
    "experiment_id IN ('$beta', '$alpha')",
    "experiment_id NOT IN ('$beta')",
    "experiment_id NOT IN ('9223372036854775808')",
    "attribute.experiment_id IN ('$beta')",
)
WRONG_FILTERS = (
    "x",
    "name",
    "name =",
    "name = beta",
    "name = 5",
    "name like 'a'",
    "name ilike 'a'",
    "name > 'a'",
    "name IN ('a')",
    "name IS NULL",
    "name == 'a'",
    "name = 'a' OR name = 'b'",
    "NOT name = 'a'",
    "(name = 'a')",
    "name = 'a' name = 'b'",
    "name = 'a",
    "Name = 'a'",
    "attributes.name = 'a'",
    "attr.name = 'a'",
    "metrics.x > 1",
    "params.x = '1'",
    "bogus = 'x'",
    "attribute.bogus = 'x'",
    "lifecycle_stage = 'active'",
    "artifact_location = 'x'",
    "tags.x = 5",
    "tags.x = y",
    "tags.x > 'a'",
    "tags.x IN ('a')",
    "tags = 'x'",
    "creation_time > 'abc'",
    "creation_time > '5'",
    "creation_time = 1.5",
    "creation_time LIKE '5'",
    "creation_time > abc",
    "last_update_time IN (1)",
    "experiment_id = 1",
    "experiment_id = 'abc'",
    "experiment_id IN ('abc')",
    "experiment_id IN (1)",
    "experiment_id IN ()",
    "experiment_id > '1'",
    "experiment_id LIKE '1'",
    "experiment_id IN ('a'",
    "1 = 1",
    "name = 'a';",
)
ORDERS = (
    ["name"],
    ["name ASC"],
    ["name DESC"],
    ["name desc"],
    ["attribute.name DESC"],
    ["attribute.`name` DESC"],
    ["`name` DESC"],
    ["experiment_id"],
    ["experiment_id DESC"],
    ["creation_time"],
    ["creation_time DESC"],
    ["last_update_time"],
    ["last_update_time DESC", "name"],
    ["name", "name DESC"],
    ["experiment_id", "experiment_id"],
    ["  name   DESC "],
    [],
)
WRONG_ORDERS = (
    ["attributes.name"],
    ["tags.x"],
    ["tag.x"],
    ["metrics.x"],
    ["bogus"],
    ["attribute.bogus"],
    ["lifecycle_stage"],
    ["name UP"],
    ["name DESC ASC"],
    ["name, experiment_id"],
    [""],
    [" "],
    ["DESC"],
    ["name NULLS LAST"],
    [1],
    [None],
    ["1"],
    ["Name"],
)

PAGING = (
    search("all"),
    post("default order", "experiments/search", {"max_results": 100, "filter": OURS}, unordered=("tags",)),
    search("two", max_results=2),
    search("two, next", max_results=2, page_token="eyJvZmZzZXQiOiAyfQ=="),
    search("exactly all", max_results=5),
    search("four", max_results=4),
    search("beyond", page_token="eyJvZmZzZXQiOiA5OX0="),
    search("max as text", max_results="2"),
    search("max as float", max_results=2.0),
    search("max absent", max_results=None),
    search("max 0", max_results=0),
    search("max -1", max_results=-1),
    search("max 50000", max_results=50000),
    search("max 50001", max_results=50001),
    search("max of letters", max_results="abc"),
    search("token !!", page_token="!!"),
    search("token abc", page_token="abc"),
    search("token YWJj", page_token="YWJj"),
    search("token offset 0", page_token="eyJvZmZzZXQiOiAwfQ=="),
    search("token empty", page_token=""),
    search("token of a list", page_token="WzFd"),
    search("token offset text", page_token="eyJvZmZzZXQiOiAiMiJ9"),
    search("view ALL", view_type="ALL"),
    search("view DELETED_ONLY", view_type="DELETED_ONLY"),
    search("view by number", view_type=3),
    search("view by numeric text", view_type="2"),
    search("view null", view_type=None),
    search("filter null", filter=None, max_results=1),
    search("filter number", filter=5),
    search("order text", order_by="name"),
    search("camelCase", maxResults=2, max_results=None),
    post("camelCase alone", "experiments/search", {"maxResults": 2, "filter": OURS, "orderBy": ["name DESC"], "viewType": "ALL"}),
    search("unknown field", zzz=1),
    search("wrong filter and max 0", filter="bogus = 'x'", max_results=0),
    search("wrong filter and wrong token", filter="bogus = 'x'", page_token="!!"),
    search("wrong order and wrong filter", filter="bogus = 'x'", order_by=["bogus"]),
    post("empty body", "experiments/search", {}),
    get("by GET", "experiments/search", {"max_results": 3, "filter": OURS, "order_by": "name DESC"}, unordered=("tags",)),
    get("by GET, two orders", "experiments/search", [("max_results", "9"), ("filter", OURS), ("order_by", "last_update_time"), ("order_by", "name")], unordered=("tags",)),
    get("by GET, view", "experiments/search", {"max_results": 9, "filter": OURS, "view_type": "DELETED_ONLY", "order_by": "name"}),
    get("by GET, view by number", "experiments/search", {"max_results": 9, "filter": OURS, "view_type": "2", "order_by": "name"}),
    get("by GET, no parameters", "experiments/search"),
    get("by GET, no max", "experiments/search", {"filter": OURS}),
    get("by GET, empty max", "experiments/search", {"max_results": ""}),
    get("by GET, max of letters", "experiments/search", {"max_results": "x"}),
    get("by GET, camelCase", "experiments/search", {"maxResults": 2}),
    get("by GET, wrong filter", "experiments/search", {"max_results": 2, "filter": "x"}),
    get("by GET, token", "experiments/search", {"max_results": 2, "filter": OURS, "order_by": "name", "page_token": "eyJvZmZzZXQiOiAyfQ=="}, unordered=("tags",)),
)  # fmt: skip

DIALOGUES = (
    Dialogue(
        "search experiments",
        (
            *POPULATION,
            *(filtered(text) for text in FILTERS),
            *(bare(text) for text in WRONG_FILTERS),
            *(search(f"order by {items}", order_by=items) for items in ORDERS),
            *(search(f"wrong order by {items}", order_by=items) for items in WRONG_ORDERS),
            *PAGING,
        ),
    ),
)
