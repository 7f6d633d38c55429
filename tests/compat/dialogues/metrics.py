"""runs/log-metric and metrics/*: values, latest, history, paging, bulk, sampling."""

from __future__ import annotations

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run


def log(label: str, **fields: object) -> Ask:
    body = {"run_id": "$run", "key": "m", "value": 1.0, "timestamp": 1} | fields
    return post(label, "runs/log-metric", {k: v for k, v in body.items() if v != "<absent>"})


def raw(label: str, text: str) -> Ask:
    return post(label, "runs/log-metric", text.encode())


def look(label: str) -> Ask:
    return get(label, "runs/get", {"run_id": "$run"}, unordered=("metrics", "tags"))


def history(label: str, **query: object) -> Ask:
    asked = {"run_id": "$run", "metric_key": "m"} | query
    asked = {k: v for k, v in asked.items() if v is not None}
    return get(label, "metrics/get-history", asked)


def batch(label: str, *points: tuple[object, ...]) -> Ask:
    metrics = [dict(zip(("key", "value", "timestamp", "step"), p, strict=False)) for p in points]
    return post(label, "runs/log-batch", {"run_id": "$run", "metrics": metrics})


VALUES = {
    "zero": 0,
    "integer": 3,
    "negative zero": -0.0,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "many digits": 0.1234567890123456789,
    "an integer beyond 2^53": 9007199254740993,
    "as text": "1.5",
    "exponent as text": "1e3",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "true": True,
    "false": False,
    "third": 1 / 3,
    "1e16": 1e16,
    "1e22": 1e22,
    "1e-7": 1e-7,
    "1e-5": 1e-5,
}

LOG = Dialogue(
    "log a metric",
    (
        experiment(),
        run(),
        *(log(f"value {label}", key=f"v/{label.replace('^', '')}", value=value) for label, value in VALUES.items()),
        look("values"),
        *(history(f"history of {label}", metric_key=f"v/{label.replace('^', '')}") for label in VALUES),
        log("step as text", key="s", step="5"),
        log("step as float", key="s", step=6.0),
        log("step negative", key="s", step=-7),
        log("step at its largest", key="s", step=9223372036854775807),
        log("step at its smallest", key="s", step=-9223372036854775808),
        log("step null", key="s", step=None, timestamp=2),
        log("timestamp as text", key="s", timestamp="3"),
        log("timestamp as float", key="s", timestamp=4.0),
        log("timestamp zero", key="s", timestamp=0),
        log("timestamp at its largest", key="s", timestamp=9223372036854775807),
        history("steps and times", metric_key="s"),
        log("camelCase extras", key="s", modelId="", datasetName=""),
        log("unknown field", key="s", zzz=1),
        log("no key", key="<absent>"),
        log("empty key", key=""),
        log("null key", key=None),
        log("number key", key=5),
        log("no value", value="<absent>"),
        log("null value", value=None),
        log("empty value", value=""),
        log("text value", value="abc"),
        log("list value", value=[]),
        log("no timestamp", timestamp="<absent>"),
        log("null timestamp", timestamp=None),
        log("empty timestamp", timestamp=""),
        log("text timestamp", timestamp="abc"),
        log("timestamp negative", timestamp=-1),
        log("timestamp negative, NaN", timestamp=-1, value="NaN"),
        log("timestamp negative, integer", timestamp=-1, value=3),
        log("text step", step="abc"),
        log("key of 250", key="k" * 250),
        log("key of 251", key="k" * 251),
        log("key of 251 and bad", key="?" * 251),
        log("bad key", key="a?b"),
        log("bad key and negative time", key="a?b", timestamp=-1),
        log("double slash", key="a//b"),
        log("climbing", key="../a"),
        log("inner climbing", key="a/../b"),
        log("absolute", key="/a"),
        log("dot", key="."),
        log("two dots", key=".."),
        log("trailing slash", key="a/"),
        log("leading dot slash", key="./a"),
        log("spaces", key=" a b "),
        log("one space", key=" "),
        log("unicode key", key="точность/évaluation"),
        log("emoji key", key="🚀"),
        log("colon", key="a:b"),
        log("backslash", key="a\\b"),
        log("tab", key="a\tb"),
        log("percent", key="a%b"),
        log("at", key="a@b"),
        log("brackets", key="a[0]"),
        log("plus", key="a+b"),
        log("comma", key="a,b"),
        log("system metric", key="system/cpu_utilization_percentage"),
        log("unknown run", run_id="nope"),
        log("no run", run_id=None),
        log("empty run", run_id=""),
        log("by run_uuid", run_id="<absent>", run_uuid="$run", key="uuid"),
        log("by run_uuid, null run_id", run_id=None, run_uuid="$run", key="uuid", timestamp=2),
        log("by run_uuid, empty run_id", run_id="", run_uuid="$run", key="uuid", timestamp=3),
        log("run by number", run_id=5),
        log("unknown model", key="model", model_id="m-00000000000000000000000000000000"),
        log("empty model", key="model", model_id=""),
        log("dataset without model", key="model", dataset_name="d", dataset_digest="1"),
        look("at the end"),
    ),
)  # fmt: skip

LATEST = Dialogue(
    "latest metrics",
    (
        experiment(),
        run(),
        log("later step", key="a", value=1.0, step=5, timestamp=1),
        log("earlier step", key="a", value=2.0, step=4, timestamp=9),
        log("same step, later time", key="b", value=1.0, step=1, timestamp=2),
        log("same step, earlier time", key="b", value=9.0, step=1, timestamp=1),
        log("same time, low value", key="c", value=1.0, step=1, timestamp=1),
        log("same time, high value", key="c", value=2.0, step=1, timestamp=1),
        log("same time, lower value", key="c", value=0.5, step=1, timestamp=1),
        log("five", key="d", value=5.0),
        log("NaN after five", key="d", value="NaN"),
        log("minus five", key="e", value=-5.0),
        log("NaN after minus five", key="e", value="NaN"),
        log("NaN first", key="f", value="NaN"),
        log("one after NaN", key="f", value=1.0),
        log("NaN again", key="g", value="NaN"),
        log("NaN again, same", key="g", value="NaN"),
        log("zero after NaN", key="g", value=0.0),
        log("zero first", key="h", value=0.0),
        log("NaN after zero", key="h", value="NaN"),
        log("infinity", key="i", value="Infinity"),
        log("huge after infinity", key="i", value=1.7976931348623157e308),
        log("negative step", key="j", value=1.0, step=-5),
        log("more negative step", key="j", value=2.0, step=-6),
        log("step zero", key="j", value=3.0, step=0, timestamp=0),
        batch("one batch, shuffled", ("k", 1.0, 3, 3), ("k", 2.0, 1, 1), ("k", 3.0, 2, 2)),
        batch("one batch, ties", ("l", 1.0, 1, 1), ("l", 3.0, 1, 1), ("l", 2.0, 1, 1)),
        batch("one batch, NaN ties", ("m", "NaN", 1, 1), ("m", -1.0, 1, 1), ("m", "NaN", 1, 1)),
        batch("one batch, older", ("k", 9.0, 0, 0)),
        look("latest"),
        # Not of g and h: stock orders by timestamp, step and value only, and a NaN is stored as 0, so
        # the order of its NaN and 0 depends on the plan. tests/api/test_long_answers.py has ours.
        *(history(f"history {key}", metric_key=key) for key in "abcdefijklm"),
    ),
)

HISTORY = Dialogue(
    "history of a metric",
    (
        experiment(),
        run(),
        batch("points", *(("m", i / 2, 10 + i, i) for i in range(7))),
        batch("points at one time", ("m", 3.0, 5, 9), ("m", 1.0, 5, 9), ("m", 2.0, 5, 8)),
        batch("a NaN", ("m", "NaN", 6, 0)),
        batch("the same again", ("m", 0.5, 11, 1), ("m", "NaN", 6, 0)),
        history("all"),
        history("three", max_results=3),
        Ask(
            "token kept",
            "GET",
            "metrics/get-history",
            query={"run_id": "$run", "metric_key": "m", "max_results": "4"},
            keep={"token": "next_page_token"},
        ),
        history("next four", max_results=4, page_token="$token"),
        history("exactly all", max_results=11),
        history("one less than all", max_results=10),
        history("the rest", max_results=10, page_token="eyJvZmZzZXQiOiAxMH0="),
        history("beyond the end", max_results=10, page_token="eyJvZmZzZXQiOiA5OX0="),
        history("token without a limit", page_token="eyJvZmZzZXQiOiAzfQ=="),
        history("bad token", max_results=3, page_token="!!"),
        history("bad base64", max_results=3, page_token="abc"),
        history("not JSON", max_results=3, page_token="YWJj"),
        history("offset zero", max_results=3, page_token="eyJvZmZzZXQiOiAwfQ=="),
        history("empty token", max_results=3, page_token=""),
        history("zero", max_results=0),
        history("negative", max_results=-1),
        history("text", max_results="abc"),
        history("float", max_results="1.5"),
        history("integral float", max_results="2.0"),
        history("beyond 32 bits", max_results=2147483648),
        history("very many", max_results=2147483647),
        history("unknown run", run_id="nope"),
        history("unknown key", metric_key="nope"),
        history("no key", metric_key=None),
        history("empty key", metric_key=""),
        history("no run", run_id=None),
        history("by run_uuid", run_id=None, run_uuid="$run"),
        history("run_id and run_uuid", run_uuid="nope"),
        history("key in unicode", metric_key="é"),
        history("unknown parameter", zzz=1),
    ),
)


def bulk(label: str, query: str) -> Ask:
    return get(label, "/ajax-api/2.0/mlflow/metrics/get-history-bulk", query)


def interval(label: str, query: str) -> Ask:
    return get(label, "metrics/get-history-bulk-interval", query)


BULK = Dialogue(
    "histories in bulk",
    (
        experiment(),
        run(keep="one", label="one", run_id="$one"),
        run(keep="two", label="two"),
        *(
            post(
                f"points of {name}",
                "runs/log-batch",
                {
                    "run_id": name,
                    "metrics": [
                        {"key": "m", "value": float(i * i), "timestamp": 100 - i, "step": i}
                        for i in range(count)
                    ],
                },
            )
            for name, count in (("$one", 10), ("$two", 4))
        ),
        post(
            "a NaN",
            "runs/log-metric",
            {"run_id": "$two", "key": "nan", "value": "NaN", "timestamp": 1},
        ),
        bulk("one run", "run_id=$one&metric_key=m"),
        bulk("one run, three", "run_id=$one&metric_key=m&max_results=3"),
        bulk("NaN", "run_id=$two&metric_key=nan"),
        bulk("no run", "metric_key=m"),
        bulk("no key", "run_id=$one"),
        bulk("empty key", "run_id=$one&metric_key="),
        bulk("unknown run", "run_id=nope&metric_key=m"),
        bulk("unknown key", "run_id=$one&metric_key=nope"),
        bulk("zero", "run_id=$one&metric_key=m&max_results=0"),
        bulk("negative", "run_id=$one&metric_key=m&max_results=-1"),
        bulk("above the cap", "run_id=$one&metric_key=m&max_results=99999999"),
        bulk("101 runs", "metric_key=m" + "&run_id=x" * 101),
        bulk("100 runs", "metric_key=m" + "&run_id=x" * 100),
        bulk("the same run twice", "run_id=$one&run_id=$one&metric_key=m&max_results=2"),
        bulk("run_ids instead", "run_ids=$one&metric_key=m"),
        get("only under /ajax-api", "/api/2.0/mlflow/metrics/get-history-bulk", "run_id=$one"),
        *(interval(f"{n} points", f"run_ids=$one&metric_key=m&max_results={n}") for n in range(1, 13)),
        interval("two runs", "run_ids=$one&run_ids=$two&metric_key=m&max_results=3"),
        interval("two runs, other way round", "run_ids=$two&run_ids=$one&metric_key=m&max_results=3"),
        interval("the same run twice (interval)", "run_ids=$two&run_ids=$two&metric_key=m"),
        interval("NaN (interval)", "run_ids=$two&metric_key=nan"),
        interval("steps", "run_ids=$one&metric_key=m&start_step=2&end_step=6"),
        interval("steps, few points", "run_ids=$one&metric_key=m&start_step=2&end_step=8&max_results=3"),
        interval("one step", "run_ids=$one&metric_key=m&start_step=2&end_step=2"),
        interval("steps outside", "run_ids=$one&metric_key=m&start_step=50&end_step=60"),
        interval("negative steps", "run_ids=$one&metric_key=m&start_step=-5&end_step=1"),
        interval("only a start", "run_ids=$one&metric_key=m&start_step=2"),
        interval("only an end", "run_ids=$one&metric_key=m&end_step=2"),
        interval("steps reversed", "run_ids=$one&metric_key=m&start_step=5&end_step=1"),
        interval("steps as integral floats", "run_ids=$one&metric_key=m&start_step=2.0&end_step=6"),
        interval("step of letters", "run_ids=$one&metric_key=m&start_step=a&end_step=1"),
        interval("default", "run_ids=$one&metric_key=m"),
        interval("2500", "run_ids=$one&metric_key=m&max_results=2500"),
        interval("2501", "run_ids=$one&metric_key=m&max_results=2501"),
        interval("zero (interval)", "run_ids=$one&metric_key=m&max_results=0"),
        interval("negative (interval)", "run_ids=$one&metric_key=m&max_results=-1"),
        interval("letters", "run_ids=$one&metric_key=m&max_results=abc"),
        interval("no run (interval)", "metric_key=m"),
        interval("no key (interval)", "run_ids=$one"),
        interval("empty run", "run_ids=&metric_key=m"),
        interval("unknown run (interval)", "run_ids=nope&metric_key=m"),
        interval("100 runs (interval)", "metric_key=m" + "&run_ids=x" * 100),
        interval("101 runs (interval)", "metric_key=m" + "&run_ids=x" * 101),
    ),
)  # fmt: skip

SAMPLED = Dialogue(
    "a long series, sampled",
    (
        experiment(),
        run(),
        *(
            batch(
                f"points {start}",
                *(("m", (i * 37 % 101) / 7, 1000 + i // 2, i // 3 - 50) for i in range(start, start + 1000)),
            )
            for start in range(0, 3000, 1000)
        ),
        *(interval(f"{n} points", f"run_ids=$run&metric_key=m&max_results={n}") for n in (1, 2, 7, 320, 999, 2500)),
        interval("some steps", "run_ids=$run&metric_key=m&start_step=10&end_step=400&max_results=50"),
        history("a page of 2000", max_results=2000),
        history("everything"),
    ),
)  # fmt: skip

DIALOGUES = (LOG, LATEST, HISTORY, BULK, SAMPLED)
