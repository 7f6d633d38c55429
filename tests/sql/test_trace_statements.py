"""One statement writes traces as a transaction does (PostgreSQL)."""

from __future__ import annotations

import json
import uuid
from ast import literal_eval
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.faults.stored import rows

from headrace.api.results import encode
from headrace.api.traces.assessments import read_sql as assessments_sql
from headrace.api.traces.spans.log import LogSpans
from headrace.api.traces.traces import single_sql, view
from headrace.api.traces.traces.read_sql import Found
from headrace.api.traces.traces.start import StartTrace
from headrace.api.traces.traces.write_sql import COLUMNS
from headrace.api.traces.traces.write_types import TraceInfoIn
from headrace.api.traces.writes import apply
from headrace.auth.redactions import NOTHING_HIDDEN
from headrace.contract.errors import ApiError
from headrace.db.open import open_database
from headrace.db.postgres.transaction import PostgresTx
from headrace.otlp.batch import base64_of
from headrace.otlp.decode import decode
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from headrace.api.traces.writes import Write
    from headrace.db.base import Database
    from headrace.db.sql import Sql

START_NS = 1_760_000_000_000_000_000
USAGE = json.dumps({"input_tokens": 3, "output_tokens": 4, "total_tokens": 7})
ASSESSED_BEFORE = 5  # the group that changes the time of the trace again
TABLES = {
    # Without the generation of the spans: a group that is repeated in a transaction counts twice.
    "trace_info": ", ".join(name for name in COLUMNS if name != "db_payload_generation"),
    "trace_tags": "request_id, key, value",
    "trace_request_metadata": "request_id, key, value",
    "spans": "*",
    "assessments": "trace_id, name, trace_timestamp_ms, experiment_id",
}


def spans(experiment: int, *traces: str, first: int = 1, count: int = 2) -> LogSpans:
    """The write of a request with spans of some traces."""
    many = [
        {
            "traceId": trace,
            "spanId": f"{number:016x}",
            "name": f"step {number}",
            "startTimeUnixNano": str(START_NS + number),
            "endTimeUnixNano": str(START_NS + number * 10**7),
            "attributes": [
                {"key": "mlflow.spanInputs", "value": {"stringValue": '{"q": "wh\\"y"}'}},
                {"key": "mlflow.chat.tokenUsage", "value": {"stringValue": USAGE}},
            ],
        }
        | ({"parentSpanId": f"{1:016x}"} if number > 1 else {})
        for trace in traces
        for number in range(first, first + count)
    ]
    resource = {"attributes": [{"key": "host", "value": {"stringValue": "h"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": many}]}]}
    batch = decode(json.dumps(body).encode(), None, is_json=True).batch
    return LogSpans(experiment, batch.traces, None)


def info(experiment: int, trace: str, **more: Any) -> StartTrace:
    """The write of a client's information about a trace."""
    place = {
        "type": "MLFLOW_EXPERIMENT",
        "mlflow_experiment": {"experiment_id": str(experiment)},
    }
    given = {
        "trace_id": f"tr-{trace}",
        "trace_location": place,
        "request_time": "2025-10-09T08:53:20.5Z",
        "state": "OK",
        "tags": {"mlflow.traceName": "agent", "k": "v" * 5000},
        "trace_metadata": {"mlflow.trace.session": "s", "m": "x" * 300, "j": '{"a": "b"}'},
    }
    return StartTrace.from_request(msgspec.convert(given | more, TraceInfoIn))


def story(experiment: int, ids: list[str]) -> list[list[Write]]:
    """Groups of writes: spans first, information first, both at once, errors among them."""
    a, b, c, d, e, f = ids
    plain = {"tags": {}, "trace_metadata": {}, "request_preview": "asked"}
    return [
        [spans(experiment, a)],
        [info(experiment, a)],
        [info(experiment, b, **plain), info(experiment, c)],
        [spans(experiment, b)],
        [spans(experiment, d, f), info(experiment, d), info(experiment, e)],
        [
            info(experiment, e, **plain),
            info(experiment, d, request_time="2025-10-09T08:53:21Z", **plain),
        ],
        [info(experiment, a), info(experiment + 1, b), spans(experiment, c, first=3)],
        [spans(experiment, a, first=5), info(experiment, c, **plain)],
        [spans(experiment + 2, e, first=7), spans(experiment + 2, uuid.uuid4().hex)],
        [info(experiment, f, execution_duration="1.5s", state="ERROR")],
    ]


def shown(result: Any) -> Any:
    """A result without what differs between two runs."""
    if isinstance(result, ApiError):
        return str(result)
    if isinstance(result, Found):
        return msgspec.json.decode(encode(view.infos(result, NOTHING_HIDDEN)))
    return result


def assess(uri: str, experiment: int, trace: str) -> None:
    """Add an assessment to a trace, with the time of the trace."""
    columns = "assessment_id, trace_id, name, assessment_type, value, created_timestamp, last_updated_timestamp"
    columns += ", source_type, valid, experiment_id, trace_timestamp_ms, is_numeric_value"
    values = f"'a-{trace}', 'tr-{trace}', 'good', 'feedback', 'true', 1, 1, 'HUMAN', true, {experiment}, 1760000000500, false"
    rows(uri, f"INSERT INTO assessments ({columns}) VALUES ({values}) RETURNING 1")


async def committed(
    db: Database, uri: str, experiment: int, ids: list[str], *, alone: bool
) -> list[Any]:
    """Commit the groups of the story; the results."""
    results = []
    for number, group in enumerate(story(experiment, ids)):
        if number == ASSESSED_BEFORE:
            assess(uri, experiment, ids[3])
        results += await db.write_group(apply, group, lock_s=0.5, alone=alone)
    return [shown(result) for result in results]


def stored(uri: str, experiment: int, ids: list[str]) -> dict[str, str]:
    """The rows of the traces, as text in which ids are numbers."""
    found = {}
    for table, columns in TABLES.items():
        key = "request_id" if "request_id" in columns else "trace_id"
        wanted = ", ".join(f"'tr-{id_}'" for id_ in ids)
        query = f"SELECT {columns} FROM {table} WHERE {key} IN ({wanted})"
        found[table] = neutral(sorted(rows(uri, query), key=str), experiment, ids)
    return found


def neutral(value: Any, experiment: int, ids: list[str]) -> str:
    """The text of a value without the ids of traces and of the experiment."""
    text = repr(value)
    for number, id_ in enumerate(ids):
        text = text.replace(id_, f"<{number}>").replace(
            base64_of(bytes.fromhex(id_)), f"<{number}>"
        )
    for number in range(3):
        text = text.replace(str(experiment + number), f"<experiment {number}>")
    return text


@pytest.mark.timeout(120)
async def test_one_statement_writes_what_a_transaction_writes(
    postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[bool, str]] = []
    fetch = PostgresTx.fetch

    async def recorded(tx: PostgresTx, sql: Sql, *args: Any) -> Any:
        sent.append((tx.alone, sql.postgres))
        return await fetch(tx, sql, *args)

    monkeypatch.setattr(PostgresTx, "fetch", recorded)
    db = await open_database(Settings(backend_store_uri=postgres_uri))
    seen = []
    for alone, experiment in ((True, 7_000_001), (False, 8_000_001)):
        add_experiments(postgres_uri, experiment)
        # Sorted, because rows are compared in the order of the ids.
        ids = sorted(uuid.uuid4().hex for _ in range(6))
        results = await committed(db, postgres_uri, experiment, ids, alone=alone)
        # JSON objects are equal whatever the order of their members.
        seen.append(literal_eval(neutral(results, experiment, ids)))
        for table, text in stored(postgres_uri, experiment, ids).items():
            seen[-1].append((table, text))
    await db.close()
    for single, several in zip(*seen, strict=True):
        assert single == several
    lone = [text for is_alone, text in sent if is_alone]
    lone.remove(assessments_sql.OF_TRACES.postgres)
    assert lone == [single_sql.WRITE.postgres] * len(story(1, [uuid.uuid4().hex] * 6))


def add_experiments(uri: str, first: int) -> None:
    """Three experiments; the last is deleted."""
    stages = ("active", "active", "deleted")
    values = ", ".join(
        f"({first + n}, 'e-{first + n}', '{stage}', 's3://bucket/{first}')"
        for n, stage in enumerate(stages)
    )
    columns = "experiment_id, name, lifecycle_stage, artifact_location"
    rows(uri, f"INSERT INTO experiments ({columns}) VALUES {values} RETURNING 1")
