"""Bodies that routes of FastAPI refuse, for which no request of a client is needed: none of them is an error page."""

from __future__ import annotations

import pytest

from headrace.api.tracking.jobs.types import JobStatus, SearchJobs
from headrace.contract.errors import ApiError
from headrace.http.fastapi import Decoder, Unprocessable

DECODER = Decoder(SearchJobs)


@pytest.mark.parametrize(
    "body",
    [
        b'{"job_name": "\\ud800"}',
        b'{"params": [1' + b"1" * 5000 + b"]}",
        b"[" * 100_000,
        b"\xff",
        b"[",
    ],
    ids=["lone surrogate", "huge number", "deep", "no text", "cut"],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Unprocessable) as refused:
        DECODER.from_body(body, "application/json")
    (problem,) = refused.value.problems
    assert (problem["type"], problem["msg"]) == ("json_invalid", "JSON decode error")


def test_null_in_a_text_is_refused() -> None:
    with pytest.raises(ApiError):
        DECODER.from_body(b'{"job_name": "a\\u0000"}', "application/json")


def test_other_types_of_json_are_read() -> None:
    body = b'{"statuses": ["RUNNING"], "unknown": 1}'
    found = DECODER.from_body(body, "application/problem+json; charset=utf-8")
    assert found == SearchJobs(statuses=[JobStatus.RUNNING])
