"""Answers about traces omit what belongs to types that are denied to the caller."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.fill import fill
from tests.scripted_access import Granted, users_of

if TYPE_CHECKING:
    from tests.scripted_access import Ask

TRACES = ("tr-1", "tr-2")
SOURCE = {"mlflow.sourceRun": "r" * 32, "mlflow.modelId": "m-1"}
# More metadata than one read holds: such a trace is sent in pieces.
MANY = {f"key{n}": "v" for n in range(2500)}
SPAN = {
    "name": "root",
    "trace_id": "AAAAAAAAAAAAAAAAAAAAAQ==",
    "span_id": "AAAAAAAAAAE=",
    "start_time_unix_nano": 1,
    "end_time_unix_nano": 2,
    "attributes": {},
    "status": {"code": "STATUS_CODE_OK"},
}
DENIED = {
    "run": ["mlflow.sourceRun"],
    "logged_model": ["mlflow.modelId"],
    "assessment": ["assessments"],
}


def store(uri: str, metadata: dict[str, str]) -> None:
    """Two traces, each with a span and an assessment."""
    where = [(trace, 0) for trace in TRACES]
    columns = "request_id, experiment_id, timestamp_ms, execution_time_ms, status"
    fill(uri, "trace_info", columns, [(*trace, 1, 1, "OK") for trace in where])
    rows = [(t, key, value) for t in TRACES for key, value in metadata.items()]
    fill(uri, "trace_request_metadata", "request_id, key, value", rows)
    location = ("mlflow.trace.spansLocation", "TRACKING_STORE")
    fill(uri, "trace_tags", "request_id, key, value", [(t, *location) for t in TRACES])
    fill(
        uri,
        "spans",
        "trace_id, experiment_id, span_id, name, status, start_time_unix_nano, end_time_unix_nano, content",
        [(*trace, "1", "root", "OK", 1, 2, json.dumps(SPAN)) for trace in where],
    )
    fill(
        uri,
        "assessments",
        "assessment_id, trace_id, name, assessment_type, value, created_timestamp,"
        " last_updated_timestamp, source_type, valid",
        [(f"a-{t}", t, "good", "feedback", "true", 1, 1, "HUMAN", True) for t in TRACES],
    )


def without(answer: Any, gone: list[str]) -> Any:
    """An answer without these keys, and without the objects that become empty."""
    if isinstance(answer, list):
        return [without(one, gone) for one in answer if one.get("key") not in gone]
    if not isinstance(answer, dict):
        return answer
    left = {name: without(one, gone) for name, one in answer.items() if name not in gone}
    empty = ("trace_metadata", "request_metadata")
    return {name: one for name, one in left.items() if one or name not in empty}


async def answers(ask: Ask, user: str) -> list[Any]:
    """The answers of every route that reads traces by id."""
    found = []
    for path, fields in (
        (f"traces/{TRACES[0]}", {}),
        ("traces/get", {"trace_id": TRACES[0]}),
        ("traces/batchGet", {"trace_ids": TRACES}),
    ):
        found.append((await ask(user, "GET", f"/api/3.0/mlflow/{path}", **fields)).json)
    batch = "/api/3.0/mlflow/traces/batchGetInfos"
    found.append((await ask(user, "POST", batch, trace_ids=list(TRACES))).json)
    found.append((await ask(user, "GET", f"traces/{TRACES[0]}/info")).json)
    return found


@pytest.mark.parametrize("more", [{}, {"other": "x"}, MANY], ids=["alone", "few", "many"])
async def test_traces_omit_what_belongs_to_denied_types(uri: str, more: dict[str, str]) -> None:
    every = Granted("run", "logged_model", "assessment")
    users = {name: Granted(name) for name in DENIED} | {"every": every}  # type: ignore[arg-type]
    async with users_of(uri, **users) as ask:
        store(uri, SOURCE | more)
        whole = await answers(ask, "admin")
        one = await ask("admin", "GET", f"/api/3.0/mlflow/traces/{TRACES[0]}")
        assert one.in_pieces is (more is MANY)
        text = json.dumps(whole)
        for word in (*SOURCE.values(), "feedback"):
            assert word in text
        for user in users:
            gone = DENIED.get(user, [key for keys in DENIED.values() for key in keys])
            for seen, wanted in zip(await answers(ask, user), whole, strict=True):
                assert seen == without(wanted, gone), user
