"""Every field of every request of core tracking, given values of every JSON type."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run, still

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "one": 1,
    "minus one": -1,
    "1.0": 1.0,
    "1.5": 1.5,
    "2^31": 2147483648,
    "2^63": 9223372036854775808,
    "2^64": 18446744073709551616,
    "1e30": 1e30,
    "empty text": "",
    "text": "abc",
    "digits": "12",
    "digits with spaces": " 12 ",
    "digits with a plus": "+12",
    "digits with an underscore": "1_2",
    "decimal text": "1.5",
    "integral decimal text": "12.0",
    "exponent text": "1e2",
    "hex text": "0x10",
    "NaN text": "NaN",
    "nan text": "nan",
    "Infinity text": "Infinity",
    "inf text": "inf",
    "-Infinity text": "-Infinity",
    "true text": "true",
    "null text": "null",
    "empty list": [],
    "list of one": [1],
    "list of text": ["a"],
    "list of null": [None],
    "list of lists": [[]],
    "list of objects": [{}],
    "empty object": {},
    "object": {"a": 1},
}
# Enough for a field that takes text or a list: its parser knows one type and refuses the others.
SHORT = ("null", "true", "one", "1.5", "empty text", "text", "empty list", "list of one",
         "list of text", "list of null", "list of objects", "empty object", "object")  # fmt: skip
NUMERIC = frozenset(
    {"max_results", "start_time", "end_time", "status", "view_type", "run_view_type", "timestamp",
     "step", "start_step", "end_step"}
)  # fmt: skip
STORED = frozenset({"runs/create", "runs/log-metric", "runs/update"})
RUN = {"run_id": "$run"}
EXPERIMENT = {"experiment_id": "$exp"}

# Endpoint: a request that is fine, and the fields to be tried (dots lead into lists' first item).
POSTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "experiments/create": (
        {"name": "ft $dialogue", "tags": [{"key": "k", "value": "v"}]},
        ("name", "artifact_location", "tags", "tags.key", "tags.value"),
    ),
    "experiments/update": (EXPERIMENT | {"new_name": "$dialogue"}, ("experiment_id", "new_name")),
    "experiments/set-experiment-tag": (
        EXPERIMENT | {"key": "k", "value": "v"},
        ("experiment_id", "key", "value"),
    ),
    "experiments/delete-experiment-tag": (EXPERIMENT | {"key": "k"}, ("experiment_id", "key")),
    "experiments/search": (
        {"max_results": 1, "filter": "name = 'none'"},
        ("max_results", "page_token", "filter", "order_by", "view_type"),
    ),
    "experiments/delete": ({"experiment_id": "999999"}, ("experiment_id",)),
    "experiments/restore": ({"experiment_id": "999999"}, ("experiment_id",)),
    "runs/create": (
        EXPERIMENT | {"run_name": "r", "tags": [{"key": "k", "value": "v"}]},
        ("experiment_id", "user_id", "run_name", "start_time", "tags", "tags.key", "tags.value"),
    ),
    "runs/update": (RUN, ("run_id", "run_uuid", "status", "end_time", "run_name")),
    "runs/delete": (RUN, ("run_id",)),
    "runs/restore": (RUN, ("run_id",)),
    "runs/search": (
        {"experiment_ids": ["$exp"]},
        ("experiment_ids", "filter", "run_view_type", "max_results", "order_by", "page_token"),
    ),
    "runs/set-tag": (RUN | {"key": "k", "value": "v"}, ("run_id", "run_uuid", "key", "value")),
    "runs/delete-tag": (RUN | {"key": "absent"}, ("run_id", "key")),
    "runs/log-parameter": (
        RUN | {"key": "k", "value": "v"},
        ("run_id", "run_uuid", "key", "value"),
    ),
    "runs/log-metric": (
        RUN | {"key": "k", "value": 1.0, "timestamp": 1, "step": 1},
        ("run_id", "run_uuid", "key", "value", "timestamp", "step", "model_id", "dataset_name",
         "dataset_digest"),
    ),
    "runs/log-batch": (
        RUN
        | {
            "metrics": [{"key": "m", "value": 1.0, "timestamp": 1, "step": 1}],
            "params": [{"key": "p", "value": "v"}],
            "tags": [{"key": "t", "value": "v"}],
        },
        ("run_id", "metrics", "metrics.key", "metrics.value", "metrics.timestamp", "metrics.step",
         "params", "params.key", "params.value", "tags", "tags.key", "tags.value"),
    ),
    "runs/log-inputs": (
        RUN
        | {
            "datasets": [
                {
                    "tags": [{"key": "k", "value": "v"}],
                    "dataset": {"name": "n", "digest": "d", "source_type": "s", "source": "u"},
                }
            ],
            "models": [{"model_id": "m-1"}],
        },
        ("run_id", "datasets", "datasets.tags", "datasets.tags.key", "datasets.tags.value",
         "datasets.dataset", "datasets.dataset.name", "datasets.dataset.digest",
         "datasets.dataset.source_type", "datasets.dataset.source", "datasets.dataset.schema",
         "datasets.dataset.profile", "models", "models.model_id"),
    ),
    "runs/outputs": (
        RUN | {"models": [{"model_id": "m-1", "step": 1}]},
        ("run_id", "models", "models.model_id", "models.step"),
    ),
    "runs/log-model": (RUN | {"model_json": "{}"}, ("run_id", "model_json")),
}  # fmt: skip

GETS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "experiments/get": (EXPERIMENT, ("experiment_id",)),
    "experiments/get-by-name": ({"experiment_name": "Default"}, ("experiment_name",)),
    "runs/get": (RUN, ("run_id", "run_uuid")),
    "metrics/get-history": (
        RUN | {"metric_key": "m"},
        ("run_id", "run_uuid", "metric_key", "page_token", "max_results"),
    ),
    "metrics/get-history-bulk-interval": (
        {"run_ids": ["$run"], "metric_key": "m"},
        ("run_ids", "metric_key", "start_step", "end_step", "max_results"),
    ),
    "experiments/search": (
        {"max_results": 1, "filter": "name = 'none'"},
        ("max_results", "page_token", "filter", "order_by", "view_type"),
    ),
}


def replaced(body: Any, path: list[str], value: Any) -> Any:
    """The body with the value at the path; lists are entered at their first item."""
    if isinstance(body, list):
        return [replaced(body[0], path, value), *body[1:]]
    head, *rest = path
    return body | {head: replaced(body[head], rest, value) if rest else value}


def values_for(endpoint: str, field: str) -> dict[str, Any]:
    """All values for a number or an enum, fewer for text."""
    name = field.rpartition(".")[2]
    metric = endpoint == "runs/log-metric" or field.startswith("metrics.")
    if name in NUMERIC or (metric and name == "value"):
        return VALUES
    return {label: VALUES[label] for label in SHORT}


def tried(endpoint: str, field: str, body: dict[str, Any]) -> list[Ask]:
    """The requests that give one field every value, each to a run of its own if it may write."""
    asks = []
    writes_run = endpoint.startswith("runs/") and endpoint != "runs/search"
    for label, value in values_for(endpoint, field).items():
        changed = replaced(body, field.split("."), value)
        if writes_run:
            asks.append(run(f"run for {field}: {label}"))
        if endpoint == "experiments/create" and field != "name":
            changed["name"] += f" {field} {label}"
        asks.append(post(f"{field}: {label}", endpoint, changed, unordered=("tags",)))
        if writes_run:
            asks.append(still(f"after {field}: {label}"))
    return asks


def by_body(endpoint: str) -> Dialogue:
    body, fields = POSTS[endpoint]
    asks = [ask for field in fields for ask in tried(endpoint, field, body)]
    # Decoding is the same on both databases; storing may not be.
    databases = ("sqlite", "postgres") if endpoint in STORED else ("sqlite",)
    return Dialogue(f"field types of {endpoint}", (experiment(), run(), *asks), databases)


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def by_query(endpoint: str) -> Dialogue:
    good, fields = GETS[endpoint]
    asks = [
        get(f"{field}: {value!r}", endpoint, good | {field: value})
        for field in fields
        for value in dict.fromkeys(
            text_of(v)
            for v in values_for(endpoint, field).values()
            if not isinstance(v, dict | list)
        )
    ]
    in_body = [
        Ask(f"{field} in a body: {label}", "GET", endpoint, replaced(good, [field], value))
        for field in fields
        # Stock reads these from the query alone, whatever the body says.
        if endpoint != "metrics/get-history-bulk-interval" or field in ("run_ids", "metric_key")
        for label, value in values_for(endpoint, field).items()
    ]
    asks = [experiment(), run(), *asks, *in_body]
    return Dialogue(f"query types of {endpoint}", tuple(asks), databases=("sqlite",))


DIALOGUES = (
    *(by_body(endpoint) for endpoint in POSTS),
    *(by_query(endpoint) for endpoint in GETS),
)
