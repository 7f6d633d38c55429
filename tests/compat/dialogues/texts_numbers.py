"""Texts that no database holds, and numbers as hand-written clients send them."""

from __future__ import annotations

from tests.compat.dialogue import Dialogue, experiment, get, post, run

NUL = "a\x00b"
MANY = "1" * 5000

NULS = Dialogue(
    "texts with NUL",
    (
        experiment(),
        run(),
        post("param", "runs/log-parameter", {"run_id": "$run", "key": "n", "value": NUL}),
        post("tag", "runs/set-tag", {"run_id": "$run", "key": "n", "value": NUL}),
        post(
            "tags of a batch",
            "runs/log-batch",
            {"run_id": "$run", "tags": [{"key": "a", "value": "1"}, {"key": "n", "value": NUL}]},
        ),
        post("name of a run", "runs/update", {"run_id": "$run", "run_name": NUL}),
        post(
            "tag of an experiment",
            "experiments/set-experiment-tag",
            {"experiment_id": "$exp", "key": "n", "value": NUL},
        ),
        post(
            "filter", "runs/search", {"experiment_ids": ["$exp"], "filter": f"params.n = '{NUL}'"}
        ),
        get("query", "experiments/get-by-name", "experiment_name=a%00b"),
        get("path", "logged-models/a%00b"),
        post(
            "no NUL but its escape",
            "runs/set-tag",
            b'{"run_id": "$run", "key": "n", "value": "a\\\\u0000b"}',
        ),
        get("what is there", "runs/get", {"run_id": "$run"}, unordered=("tags",)),
    ),
)

_LOG = b'{"run_id": "$run", "key": "%s", "value": %s, "timestamp": %s}'
FRACTIONS = Dialogue(
    "numbers with a fraction or by name",
    (
        experiment(),
        run(),
        post("time of a metric", "runs/log-metric", _LOG % (b"a", b"1", b"1700000000000.25")),
        post("a whole float", "runs/log-metric", _LOG % (b"b", b"1", b"1700000000000.0")),
        post("NaN", "runs/log-metric", _LOG % (b"c", b"NaN", b"1")),
        post("Infinity", "runs/log-metric", _LOG % (b"d", b"Infinity", b"1")),
        post("-Infinity", "runs/log-metric", _LOG % (b"e", b"-Infinity", b"1")),
        post("NaN as time", "runs/log-metric", _LOG % (b"f", b"1", b"NaN")),
        post(
            "step",
            "runs/log-metric",
            b'{"run_id": "$run", "key": "g", "value": 1, "timestamp": 1, "step": 1.5}',
        ),
        get("what is there", "runs/get", {"run_id": "$run"}, unordered=("metrics",)),
    ),
)

DIGITS = Dialogue(
    "numbers of five thousand digits",
    (
        experiment(),
        run(),
        *(
            post(label, "runs/search", {"experiment_ids": ["$exp"], "filter": f"{left} > {MANY}"})
            for label, left in (("time", "attributes.start_time"), ("metric", "metrics.a"))
        ),
        get("experiment", "experiments/get", {"experiment_id": MANY}),
        post("experiments", "runs/search", {"experiment_ids": [MANY]}),
        post("timestamp", "runs/log-metric", _LOG % (b"a", b"1", MANY.encode())),
        get("version", "model-versions/get", {"name": "a", "version": MANY}),
        get("page size", "experiments/search", {"max_results": MANY}),
    ),
)

DIALOGUES = (NULS, FRACTIONS, DIGITS)
