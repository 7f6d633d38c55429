"""Random bytes of exporters and random filters of searches for traces: never a 5xx, never a lost server."""

from __future__ import annotations

import gzip
import json
import random
import secrets
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.load import Once
from tests.faults.trace_load import TRACES, span
from tests.fix_server import headrace
from tests.otlp import messages
from tests.otlp.test_bytes import mutated

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wire import Answer

JSON = {"Content-Type": "application/json"}
SOAK = [pytest.mark.soak, pytest.mark.timeout(1200)]
# Seconds, and the seed; 0: another one each time.
LENGTHS = [pytest.param(5, 20), pytest.param(300, 0, marks=SOAK)]
EXPORT_STATUSES = {200, 400, 413, 422}
SEARCH_STATUSES = {200, 400}
IDENTIFIERS = [
    "trace.request_id",
    "request_id",
    "client_request_id",
    "status",
    "trace.status",
    "timestamp",
    "timestamp_ms",
    "execution_time",
    "execution_time_ms",
    "end_time",
    "end_time_ms",
    "name",
    "run_id",
    "prompt",
    "trace.text",
    "text",
    "tags.k",
    "tags.`k`",
    "tag.k",
    "metadata.m",
    "metadata.`mlflow.trace.session`",
    "metadata.`mlflow.trace.tokenUsage`",
    "metadata.`mlflow.sourceRun`",
    "request_metadata.m",
    "span.name",
    "span.type",
    "span.status",
    "span.content",
    "span.attributes.q",
    "span.attributes.`a.b`",
    "span.start_time",
    "span.nothing",
    "feedback.f",
    "expectation.e",
    "feedback.`f g`",
    "issue.id",
    "attributes.status",
    "order.x",
]
COMPARATORS = [
    "=",
    "!=",
    "<>",
    ">",
    ">=",
    "<",
    "<=",
    "LIKE",
    "ILIKE",
    "RLIKE",
    "IN",
    "NOT_IN",
    "IS_NULL",
    "IS_NOT_NULL",
    "like",
    "rlike",
    "==",
    "~",
]
VALUES = (
    *("'a'", '"a"', "''", "'%'", "'%a\\_'", "5", "-5", "0.5", "1e400", "'1.5'", "NULL", "true", "('a', 'b')"),
    *("()", "('a')", "(1, 2)", "'\\'", "'['", "'(a|b)+$'", "'(?<n>x)'", "'\x00'", "'\ud83d'", "'\U0001f600'"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "'name/1'", "'a/b/c'", "`a`"),
)  # fmt: skip
JOINTS = (" AND ", " and ", " OR ", " ", " AND NOT ", "; ", ",", "\n AND\t")
ORDERS = (
    "timestamp_ms DESC",
    "tags.k",
    "metadata.m ASC",
    "name",
    "end_time",
    "x y z",
    "'",
    "`",
    "",
)


def some_filter(rng: random.Random) -> str:
    """A filter that is mostly well-formed, sometimes damaged."""
    terms = []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 8))):
        comparator = rng.choice(COMPARATORS).replace("_", " ")
        value = "" if comparator.endswith("NULL") else rng.choice(VALUES)
        terms.append(f"{rng.choice(IDENTIFIERS)} {comparator} {value}")
    joint = " AND " if rng.random() < 0.8 else rng.choice(JOINTS)
    text = joint.join(terms)
    while rng.random() < 0.3 and text:
        at = rng.randrange(len(text))
        text = (
            text[:at]
            + rng.choice(("'", '"', "`", "(", ")", "%", "\\", " ", "é", ""))
            + text[at + 1 :]
        )
    return text


def search(rng: random.Random) -> dict[str, Any]:
    """A search for traces."""
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    made: dict[str, Any] = {"locations": [place], "filter": some_filter(rng)}
    if rng.random() < 0.3:
        made["max_results"] = rng.choice((0, -1, 1, 100, 101, 500, 501, "7", 1.5, None))
    if rng.random() < 0.3:
        made["order_by"] = rng.sample(ORDERS, rng.randrange(3))  # equal ones get MLflow's 500
    if rng.random() < 0.1:
        made["page_token"] = rng.choice(
            ("", "x", "e30=", "eyJvZmZzZXQiOiAtMX0=", "eyJvZmZzZXQiOiAxfQ==")
        )
    return made


def body_of(rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """The bytes of an export, damaged in some layer, and their headers."""
    headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "0"}
    if rng.random() < 0.6:
        body = messages.request(rng, rng.randrange(1, 4)).SerializeToString()
    else:
        headers["Content-Type"] = "application/json"
        many = [span(rng.randbytes(16).hex(), number, None) for number in range(1, 3)]
        many[0]["attributes"] = [
            {"key": "a", "value": rng.choice(({"intValue": "5"}, {"kvlistValue": {}}, {}))}
        ]
        body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": many}]}]}).encode()
    if rng.random() < 0.7:
        body = mutated(body, rng)
    if rng.random() < 0.3:
        encoding = rng.choice(("gzip", "deflate"))
        headers["Content-Encoding"] = encoding
        body = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
        if rng.random() < 0.5:
            body = mutated(body, rng)
    return body, headers


@pytest.mark.parametrize(("seconds", "seed"), LENGTHS)
def test_no_bytes_and_no_filter_are_an_error_of_the_server(
    uri: str, tmp_path: Path, seconds: int, seed: int
) -> None:
    seed = seed or secrets.randbits(40)
    rng = random.Random(seed)
    seen: set[int] = set()
    until = time.monotonic() + seconds
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        while time.monotonic() < until:
            body, headers = body_of(rng)
            check(
                wire.ask("POST", "/v1/traces", body, headers=headers), EXPORT_STATUSES, seed, body
            )
            for _ in range(2):
                asked = json.dumps(search(rng)).encode()
                answer = wire.ask("POST", f"{TRACES}/search", asked, headers=JSON)
                check(answer, SEARCH_STATUSES, seed, asked)
                seen.add(answer.status)
    assert seen == SEARCH_STATUSES


def check(answer: Answer, allowed: set[int], seed: int, body: bytes) -> None:
    """The answer has an allowed status."""
    assert answer.status in allowed, f"seed {seed}: {body!r} got {answer}"
