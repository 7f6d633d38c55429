"""Reads the requests of the routes of users, roles and grants, as MLflow's basic-auth app does.

Nothing is wrong with such a request here: a body that is not a JSON object counts as `{}`, unknown
fields are ignored, and the handlers check the others. So the rule of the route is judged first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from headrace.contract.limits import MAX_ACCOUNT_BYTES
from headrace.http.codec import KEEP_ENCODED
from headrace.http.typed_json import decode_untyped

if TYPE_CHECKING:
    from headrace.contract.scalars import Loose
    from headrace.http.messages import Request


def has_json(content_type: str | None) -> bool:
    """Whether the media type is JSON: application/json or application/…+json."""
    media = (content_type or "").partition(";")[0].strip().lower()
    kind, _, subtype = media.partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


async def read(cls: type[Loose], request: Request) -> Loose:
    """A request: its query for GET, its body for POST and PATCH, either of them for DELETE.

    A field whose default is a list has every value of a query's parameter, others the first one.
    Raises `TooLong`.
    """
    is_json = has_json(request.headers.get("content-type"))
    if request.method == "GET" or (request.method == "DELETE" and not is_json):
        return _from_query(cls, request.query_string, is_json=is_json)
    body = await request.body(MAX_ACCOUNT_BYTES)
    fields = mapping(body) if is_json else {}
    return cls(**_known(cls, fields), has_json=is_json)


def mapping(body: bytes) -> dict[str, Any]:
    """The object in a body; `{}` if it has none."""
    try:
        value = decode_untyped(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _known(cls: type[Loose], fields: dict[str, Any]) -> dict[str, Any]:
    names = set(cls.__struct_fields__) - {"has_json"}
    return {name: fields[name] for name in names & fields.keys()}


def _from_query(cls: type[Loose], query_string: str, *, is_json: bool) -> Loose:
    query = parse_qs(query_string, keep_blank_values=True, errors=KEEP_ENCODED)
    request = cls(has_json=is_json)
    for name, values in _known(cls, query).items():
        many = isinstance(getattr(request, name), list)
        setattr(request, name, values if many else values[0])
    return request
