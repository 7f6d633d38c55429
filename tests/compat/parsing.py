"""Whether MLflow's own protobuf parser reads a request completely and as intended."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor
    from google.protobuf.message import Message
    from tests.compat.dialogue import Exchange

_ROUTE = re.compile(r"/(?:ajax-)?api(/\d+\.\d+/.*)")


@cache
def messages() -> dict[tuple[str, str], type[Message]]:
    """The request message of each (method, path) of MLflow's services."""
    from mlflow.protos import databricks_pb2, model_registry_pb2, service_pb2, webhooks_pb2

    files = (service_pb2, model_registry_pb2, webhooks_pb2)
    services = [s for file in files for s in file.DESCRIPTOR.services_by_name.values()]
    found = {}
    for rpc in (rpc for service in services for rpc in service.methods):
        for endpoint in rpc.GetOptions().Extensions[databricks_pb2.rpc].endpoints:
            path = f"/{endpoint.since.major}.0{endpoint.path}"
            found[endpoint.method, path] = GetMessageClass(rpc.input_type)
    return found


def message_of(method: str, path: str) -> type[Message] | None:
    """The request message of a method and path; arguments of the path are texts without a slash."""
    found = messages().get((method, path))
    if found is None:
        for (known_method, shape), message in messages().items():
            pattern = re.sub(r"\{[^}]*\}", "[^/]+", shape)
            if method == known_method and re.fullmatch(pattern, path):
                return message
    return found


def is_misread(exchange: Exchange) -> bool:
    """Whether stock MLflow reads only a part of the request, or misreads it.

    Its parser stops at the first value of a wrong type and MLflow continues with what came before; enum names
    that do not exist are dropped; a text or list in place of an object is taken for an empty object; and
    a body that is no JSON at all for an empty one.
    """
    parts = urlsplit(exchange.target)
    route = _ROUTE.fullmatch(parts.path)
    message = message_of(exchange.method, route[1]) if route else None
    if message is None:
        return False
    if exchange.method == "GET" and parts.query:
        fields: Any = _query(message, parts.query)
    else:
        try:
            fields = _body(exchange.body or b"{}")
        except (ValueError, RecursionError):
            return True
    if not isinstance(fields, dict):
        return False
    try:
        ParseDict(fields, message(), ignore_unknown_fields=True)
    except ParseError:
        return True
    return _has_dropped_values(fields, message.DESCRIPTOR)


def _has_dropped_values(fields: dict[str, Any], descriptor: Descriptor) -> bool:
    for field in descriptor.fields:
        value = fields.get(field.name, fields.get(field.json_name))
        items = value if field.is_repeated and isinstance(value, list) else [value]
        for item in items:
            if item is None:
                continue
            if field.message_type and not isinstance(item, dict):
                return True
            if field.message_type and _has_dropped_values(item, field.message_type):
                return True
            if field.enum_type and not _is_enum_value(field.enum_type, item):
                return True
    return False


def _is_enum_value(enum: EnumDescriptor, value: Any) -> bool:
    if isinstance(value, str) and value in enum.values_by_name:
        return True
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        return False  # protobuf takes 1.5 for 1
    try:
        return int(value) in enum.values_by_number
    except (ValueError, TypeError):
        return False


def _query(message: type[Message], query: str) -> dict[str, Any]:
    given = parse_qs(query, keep_blank_values=True)
    repeated = {f.name for f in message.DESCRIPTOR.fields if f.is_repeated}
    known = {f.name for f in message.DESCRIPTOR.fields} & set(given)
    return {name: given[name] if name in repeated else given[name][0] for name in known}


def _body(body: bytes) -> Any:
    value = json.loads(body)
    return json.loads(value) if isinstance(value, str) else value
