"""Requests of the routes of users, roles and grants are read without checks, as by MLflow's basic-auth app."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from headrace.contract.scalars import Loose, LooseOptionalText
from headrace.http.loose import has_json, read
from headrace.http.messages import Request

JSON = "application/json"


class Fields(Loose):
    """A field with one value, and a field with all values of a query."""

    name: LooseOptionalText = UNSET
    workspace: list[str] = msgspec.field(default_factory=list)


async def asked(
    method: str, query: str = "", body: bytes = b"", content_type: str | None = JSON
) -> Any:
    headers = {} if content_type is None else {"content-type": content_type}
    request = Request(method, "/", query, headers)
    request.give_body(body)
    return await read(Fields, request)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (None, False),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/problem+json", True),
        ("text/json", False),
        ("application/x-www-form-urlencoded", False),
        ("application/jsonx", False),
    ],
)
def test_json_is_known_by_its_media_type(content_type: str | None, expected: bool) -> None:
    assert has_json(content_type) is expected


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_a_body_is_read_and_the_query_is_not(method: str) -> None:
    request = await asked(method, "name=query", b'{"name": {"any": 1}, "unknown": 2}')
    assert request == Fields(name={"any": 1}, has_json=True)


async def test_a_get_is_read_from_its_query() -> None:
    request = await asked("GET", "name=a&name=b&workspace=x&workspace=y&has_json=1", b'{"name":1}')
    assert request == Fields(name="a", workspace=["x", "y"], has_json=True)


async def test_a_delete_without_json_is_read_from_its_query() -> None:
    assert (await asked("DELETE", "name=%20a", b"", None)).name == " a"


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"name"', b"{", b"\xff", b"[" * 60_000])
async def test_a_body_that_is_no_object_has_no_fields(body: bytes) -> None:
    assert await asked("POST", "", body) == Fields(has_json=True)


async def test_a_null_is_not_an_absent_field() -> None:
    assert (await asked("POST", "", b'{"name": null}')).name is None
    assert (await asked("POST", "", b"{}")).name is UNSET


async def test_a_body_that_is_not_json_is_ignored() -> None:
    assert await asked("POST", "", b'{"name": "a"}', None) == Fields()


async def test_no_field_sets_whether_the_request_has_json() -> None:
    assert (await asked("POST", "", b'{"has_json": false}')).has_json is True
