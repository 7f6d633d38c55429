"""Invalid bodies: malformed, not UTF-8, huge, deep, doubly encoded."""

from __future__ import annotations

import json

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run, still

MEGABYTE = 1 << 20


def nested(depth: int, opening: bytes, inner: bytes, closing: bytes) -> bytes:
    return opening * depth + inner + closing * depth


# Bodies for an endpoint whose one required field is `name`; %s becomes a name of the body's own.
BODIES: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n\t ",
    "cut short": b'{"name": ',
    "cut in a string": b'{"name": "%s',
    "no quotes": b"{name: %s}",
    "single quotes": b"{'name': '%s'}",
    "trailing comma": b'{"name": "%s",}',
    "comment": b'{"name": "%s" /* c */}',
    "two objects": b'{"name": "%s"} {"name": "b"}',
    "garbage after": b'{"name": "%s"} xyz',
    "white space around": b' \r\n{"name": "%s"}\n ',
    "null": b"null",
    "true": b"true",
    "zero": b"0",
    "number": b"5",
    "empty text": b'""',
    "text": b'"abc"',
    "empty array": b"[]",
    "array": b"[1]",
    "array of objects": b'[{"name": "%s"}]',
    "encoded twice": json.dumps('{"name": "%s"}').encode(),
    "encoded three times": json.dumps(json.dumps('{"name": "%s"}')).encode(),
    "encoded twice, array": json.dumps("[1]").encode(),
    "encoded twice, malformed": json.dumps("{").encode(),
    "encoded twice, null": json.dumps("null").encode(),
    "byte order mark": b'\xef\xbb\xbf{"name": "%s"}',
    "UTF-16": '{"name": "br sixteen"}'.encode("utf-16"),
    "UTF-16 LE without mark": '{"name": "br sixteen LE"}'.encode("utf-16-le"),
    "UTF-32": '{"name": "br thirty-two"}'.encode("utf-32"),
    "latin-1": '{"name": "%s é"}'.encode("latin-1"),
    "invalid UTF-8": b'{"name": "%s \xff\xfe"}',
    "overlong UTF-8": b'{"name": "%s \xc0\xaf"}',
    "invalid UTF-8 in an unknown field": b'{"name": "%s", "zzz": "\xff"}',
    "encoded surrogate": b'{"name": "%s \xed\xa0\x80"}',
    "lone surrogate": b'{"name": "%s \\ud800"}',
    "surrogate pair": b'{"name": "%s \\ud83d\\ude80"}',
    "lone surrogate in an unknown field": b'{"name": "%s", "zzz": "\\ud800"}',
    "NUL byte": b'{"name": "%s \x00"}',
    "control character": b'{"name": "%s \x01"}',
    "raw newline": b'{"name": "%s \n"}',
    "bad escape": b'{"name": "%s \\x"}',
    "key twice": b'{"name": "%s a", "name": "%s b"}',
    "key twice, second wrong": b'{"name": "%s", "name": 5}',
    "unknown key twice": b'{"name": "%s", "z": 1, "z": 2}',
    "bare NaN in an unknown field": b'{"name": "%s", "zzz": NaN}',
    "bare Infinity in an unknown field": b'{"name": "%s", "zzz": -Infinity}',
    "1e400 in an unknown field": b'{"name": "%s", "zzz": 1e400}',
    "leading zero in an unknown field": b'{"name": "%s", "zzz": 012}',
    "plus sign in an unknown field": b'{"name": "%s", "zzz": +1}',
    "many digits in an unknown field": b'{"name": "%s", "zzz": ' + b"9" * 1000 + b"}",
    "5000 digits in an unknown field": b'{"name": "%s", "zzz": ' + b"9" * 5000 + b"}",
    "100 deep arrays": b'{"name": "%s", "zzz": ' + nested(100, b"[", b"", b"]") + b"}",
    "900 deep arrays": b'{"name": "%s", "zzz": ' + nested(900, b"[", b"", b"]") + b"}",
    "100000 deep arrays": b'{"name": "%s", "zzz": ' + nested(100_000, b"[", b"", b"]") + b"}",
    "100000 deep objects": b'{"name": "%s", "zzz": ' + nested(100_000, b'{"a":', b"1", b"}") + b"}",
    "100000 open brackets": b"[" * 100_000,
    "10 MB of x": b"x" * (10 * MEGABYTE),
    "10 MB of spaces": b" " * (10 * MEGABYTE),
    "10 MB of NUL": b"\x00" * (10 * MEGABYTE),
    "10 MB in an unknown field": b'{"name": "%s", "zzz": "' + b"x" * (10 * MEGABYTE) + b'"}',
    "10 MB in the name": b'{"name": "' + b"x" * (10 * MEGABYTE) + b'"}',
    "100000 unknown fields": b'{"name": "%s"'
    + b"".join(b', "k%d": %d' % (i, i) for i in range(100_000))
    + b"}",
    "unknown field with an object": b'{"name": "%s", "zzz": {"a": [1, {"b": null}]}}',
    "empty key": b'{"name": "%s", "": 1}',
    "dotted key": b'{"name": "%s", "a.b": 1}',
    "proto extension key": b'{"name": "%s", "[x.y]": 1}',
    "at-type key": b'{"name": "%s", "@type": "x"}',
    "upper case key": b'{"NAME": "%s"}',
    "key with a space": b'{"name ": "%s"}',
    "prototype": b'{"name": "%s", "__proto__": {"a": 1}}',
}


def create(label: str, body: bytes) -> Ask:
    return post(label, "experiments/create", body.replace(b"%s", b"br " + label.encode()))


CREATE = Dialogue(
    "bodies for experiments/create",
    (
        *(create(label, body) for label, body in BODIES.items()),
        post(
            "what was created",
            "experiments/search",
            {"max_results": 1000, "filter": "name LIKE 'br %'", "order_by": ["name"]},
        ),
    ),
)

BATCHES: dict[str, bytes] = {
    "empty": b"",
    "cut short": b'{"run_id": "$run", "params": [',
    "null": b"null",
    "array": b"[]",
    "text": b'"abc"',
    "number": b"5",
    "encoded twice": json.dumps('{"run_id": "$run", "tags": [{"key": "twice", "value": "1"}]}').encode(),
    "not UTF-8": b'{"run_id": "$run", "tags": [{"key": "latin", "value": "\xe9"}]}',
    "lone surrogate in a value": b'{"run_id": "$run", "tags": [{"key": "s", "value": "\\ud800"}]}',
    "lone surrogate in a key": b'{"run_id": "$run", "tags": [{"key": "\\ud800", "value": "1"}]}',
    "NUL in a value": b'{"run_id": "$run", "tags": [{"key": "nul", "value": "a\\u0000b"}]}',
    "NUL in a key": b'{"run_id": "$run", "tags": [{"key": "a\\u0000b", "value": "1"}]}',
    "bare NaN": b'{"run_id": "$run", "metrics": [{"key": "m", "value": NaN, "timestamp": 1}]}',
    "bare Infinity": b'{"run_id": "$run", "metrics": [{"key": "m", "value": Infinity, "timestamp": 1}]}',
    "value 1e400": b'{"run_id": "$run", "metrics": [{"key": "m", "value": 1e400, "timestamp": 1}]}',
    "timestamp 2^63": b'{"run_id": "$run", "metrics": [{"key": "m", "value": 1, "timestamp": 9223372036854775808}]}',
    "timestamp 1.5": b'{"run_id": "$run", "metrics": [{"key": "m", "value": 1, "timestamp": 1.5}]}',
    "step 2^63": b'{"run_id": "$run", "metrics": [{"key": "m", "value": 1, "timestamp": 1, "step": 9223372036854775808}]}',
    "metrics twice": b'{"run_id": "$run", "metrics": [{"key": "a", "value": 1, "timestamp": 1}], "metrics": []}',
    "null in metrics": b'{"run_id": "$run", "metrics": [null]}',
    "null in params": b'{"run_id": "$run", "params": [null]}',
    "null in tags": b'{"run_id": "$run", "tags": [null]}',
    "list in tags": b'{"run_id": "$run", "tags": [[]]}',
    "text in tags": b'{"run_id": "$run", "tags": ["a"]}',
    "good tag, then bad": b'{"run_id": "$run", "tags": [{"key": "good", "value": "1"}, {"key": "bad", "value": 5}]}',
    "good params, bad metric": b'{"run_id": "$run", "params": [{"key": "good", "value": "1"}], "metrics": [{"key": "m", "value": "abc", "timestamp": 1}]}',
    "bad metric, good params": b'{"run_id": "$run", "metrics": [{"key": "m", "value": "abc", "timestamp": 1}], "params": [{"key": "good2", "value": "1"}]}',
    "run id last": b'{"tags": [{"key": "last", "value": "1"}], "run_id": "$run"}',
    "bad tag, run id last": b'{"tags": [{"key": "x", "value": 5}], "run_id": "$run"}',
    "10 MB value": b'{"run_id": "$run", "tags": [{"key": "big", "value": "' + b"x" * (10 * MEGABYTE) + b'"}]}',
    "deep value": b'{"run_id": "$run", "tags": [{"key": "deep", "value": ' + nested(500, b"[", b"", b"]") + b"}]}",
}  # fmt: skip

BATCH = Dialogue(
    "bodies for runs/log-batch",
    (
        experiment(),
        *(
            ask
            for label, body in BATCHES.items()
            for ask in (
                run(f"run for: {label}"),
                post(label, "runs/log-batch", body),
                still(f"after: {label}"),
            )
        ),
    ),
)

QUERIES = Dialogue(
    "query strings",
    (
        experiment(),
        run(),
        get("empty", "runs/get", "&"),
        get("no value", "runs/get", "run_id"),
        get("semicolon", "runs/get", "run_id=$run;x=1"),
        get("percent alone", "runs/get", "run_id=$run%25"),
        get("bad percent", "runs/get", "run_id=%zz"),
        get("not UTF-8", "runs/get", "run_id=%ff"),
        get("twice", "runs/get", "run_id=$run&run_id=nope"),
        get("twice, first empty", "runs/get", "run_id=&run_id=$run"),
        get("long", "runs/get", "run_id=$run&x=" + "y" * 8000),
        get("brackets", "metrics/get-history-bulk-interval", "run_ids[]=$run&metric_key=m"),
        get("comma", "metrics/get-history-bulk-interval", "run_ids=$run,$run&metric_key=m"),
        Ask("body when the query is blank", "GET", "runs/get", {"run_id": "$run"}, query="?"),
        Ask("malformed body", "GET", "runs/get", b"{"),
        Ask("array body", "GET", "runs/get", b"[]"),
        Ask("text body", "GET", "runs/get", b'"abc"'),
    ),
)

DIALOGUES = (CREATE, BATCH, QUERIES)
