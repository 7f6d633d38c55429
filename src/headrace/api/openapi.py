"""The OpenAPI description of the native routes, from the route table and its handlers' types."""

from __future__ import annotations

import inspect
import re
import typing
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
import msgspec.inspect as mi

from headrace.api.openapi_requests import Requests, is_required
from headrace.contract.scalars import Loose, PathOnly
from headrace.version import __version__

if TYPE_CHECKING:
    from headrace.api.route import Route

Object = dict[str, Any]  # JSON
OPENAPI: Final = "3.1.0"
SCHEMAS: Final = "#/components/schemas/{name}"
ERROR: Final = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
}
DETAIL: Final = {"type": "object", "required": ["detail"], "properties": {"detail": {}}}
DESCRIPTION: Final = (
    "MLflow's REST API as headrace answers it. Paths under /api are answered under /ajax-api too. "
    "Field names may be in camelCase, and integers of 64 bits in text, as in protobuf's JSON. "
    "No text may contain the character NUL."
)
_ARGUMENT: Final = re.compile(r"\{([\w-]+)(?::path)?\}")


@cache
def document(routes: tuple[Route, ...]) -> bytes:
    """Return the description as JSON. The first request creates it: 30 ms and 300 kB."""
    schemas, components = _schemas(routes)
    requests = Requests(SCHEMAS, components)
    paths: dict[str, Object] = {}
    for route in routes:
        path, arguments = template(route.path)
        operation = _operation(route, arguments, schemas, requests)
        paths.setdefault(path, {})[route.method.lower()] = operation
    described = {
        "openapi": OPENAPI,
        "info": {"title": "headrace", "version": __version__, "description": DESCRIPTION},
        "paths": paths,
        "components": {"schemas": components | requests.components | {"Error": ERROR}},
    }
    return msgspec.json.format(msgspec.json.encode(ordered(described)), indent=1)


def ordered(node: Any) -> Any:
    """Return a copy with alternatives sorted: msgspec keeps those of unions and enums in sets."""
    if isinstance(node, dict):
        return {
            name: sorted(map(ordered, value), key=repr)
            if name in ("anyOf", "enum")
            else ordered(value)
            for name, value in node.items()
        }
    return [ordered(item) for item in node] if isinstance(node, list) else node


def template(path: str) -> tuple[str, list[str]]:
    """Return a path of the route table in OpenAPI's notation, and the names of its arguments.

    An unread field (`{-}`) has no name in the route table; OpenAPI requires one.
    """
    names = [
        "ignored" if name == "-" else name for name in (m[1] for m in _ARGUMENT.finditer(path))
    ]
    remaining = iter(names)
    return _ARGUMENT.sub(lambda _: f"{{{next(remaining)}}}", path), names


def _types(route: Route) -> tuple[Any, Any]:
    """Return the types of the request and the answer; None for one that is bytes."""
    if route.raw or route.partial:
        return None, None
    hints = typing.get_type_hints(route.handler)
    answers = [
        part
        for part in _parts(hints["return"])
        if isinstance(part, type) and issubclass(part, msgspec.Struct)
    ]
    wanted = None if issubclass(hints["req"], PathOnly) else hints["req"]
    return wanted, answers[0] if answers else None


def _parts(kind: Any) -> list[Any]:
    """Return the types in a union, and those in `Line[…]`."""
    inner = typing.get_args(kind)
    return [part for one in inner for part in _parts(one)] if inner else [kind]


def _schemas(routes: tuple[Route, ...]) -> tuple[dict[Any, Object], Object]:
    """Return one schema per answer type, and the components that the schemas refer to.

    Also one per request type of FastAPI's routes, which are read without conversions.
    """
    kinds: dict[Any, Any] = {}
    for route in routes:
        wanted, kind = _types(route)
        if kind is not None:
            kinds[kind] = decodable(kind)
        if route.of_fastapi and wanted is not None:
            kinds[wanted] = wanted
    found, components = msgspec.json.schema_components(kinds.values(), ref_template=SCHEMAS)
    return dict(zip(kinds, found, strict=True)), components


@cache
def decodable(kind: Any) -> Any:
    """Return an answer type that msgspec can describe: a union of Structs becomes one Struct.

    Answers are only encoded, so they may be unions of Structs that a decoder could not tell apart.
    """
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        types = {field.name: decodable(field.type) for field in fields}
        return kind if all(types[f.name] == f.type for f in fields) else _struct([kind], types)
    parts = typing.get_args(kind)
    if not parts or typing.get_origin(kind) is typing.Annotated:
        return kind
    structs = [p for p in parts if isinstance(p, type) and issubclass(p, msgspec.Struct)]
    if len(structs) > 1:
        return _struct(
            structs, {f.name: f.type for s in structs for f in msgspec.structs.fields(s)}
        )
    known = tuple(decodable(part) for part in parts)
    if all(new == old for new, old in zip(known, parts, strict=True)):
        return kind
    if typing.get_origin(kind) is list:
        return list[known[0]]  # type: ignore[valid-type] # the item type is computed above
    return typing.Union[known]  # noqa: UP007 as above


def _struct(structs: list[Any], types: dict[str, Any]) -> Any:
    """Merge Structs into one; a field that is not in all of them or has a default is optional."""
    required = set(types)
    for struct in structs:
        required &= {f.name for f in msgspec.structs.fields(struct) if f.required}
    fields: list[Any] = [
        (name, kind) if name in required else (name, kind, None) for name, kind in types.items()
    ]
    made = msgspec.defstruct(structs[0].__name__, fields, kw_only=True)
    made.__doc__ = structs[0].__doc__
    return made


def _operation(
    route: Route, arguments: list[str], schemas: dict[Any, Object], requests: Requests
) -> Object:
    wanted, given = _types(route)
    parameters: list[Object] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in arguments
    ]
    operation: Object = {"summary": _summary(route), "tags": [_tag(route)]}
    if wanted is not None and route.method == "GET":
        parameters += requests.query(wanted, arguments)
    elif wanted is not None and route.of_fastapi:
        content = {"application/json": {"schema": schemas[wanted]}}
        operation["requestBody"] = {"required": True, "content": content}
    elif wanted is not None:
        content = {"application/json": {"schema": requests.body(wanted)}}
        info = mi.type_info(wanted)
        assert isinstance(info, mi.StructType), "a request type is a Struct"
        # Without a body clients send no Content-Type, which POST and PUT must have.
        checks_type = route.method in ("POST", "PUT") and not issubclass(wanted, Loose)
        is_wanted = checks_type or any(map(is_required, info.fields))
        operation["requestBody"] = {"required": is_wanted, "content": content}
    parameters += [
        {
            "name": name,
            "in": "query",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
        }
        for name in route.query
    ]
    if parameters:
        operation["parameters"] = parameters
    answer: Object = {"description": "The answer."}
    if given is not None:
        answer["content"] = {"application/json": {"schema": schemas[given]}}
    failure: Object = {"application/json": {"schema": {"$ref": SCHEMAS.format(name="Error")}}}
    if route.of_fastapi:
        failure = {"application/json": {"schema": DETAIL}}
    elif wanted is None:  # some of these routes send errors as HTML, as MLflow does for browsers
        failure = {"application/json": {"schema": {"type": "object"}}, "text/html": {}}
    operation["responses"] = {
        "200": answer,
        "default": {"description": "An error, in MLflow's form.", "content": failure},
    }
    return operation


def _summary(route: Route) -> str:
    """Return the summary in the handler's docstring: the text after the request line's path."""
    text = inspect.getdoc(route.handler) or ""
    line, _, rest = text.partition("\n")
    after = line.partition(": ")[2] or rest.strip().partition("\n\n")[0]
    return " ".join(after.split()) or route.path.rpartition("/")[2]


def _tag(route: Route) -> str:
    """Return the name of the handler's resource."""
    parts = route.handler.__module__.split(".")
    return parts[2] if parts[1] == "api" else parts[1]
