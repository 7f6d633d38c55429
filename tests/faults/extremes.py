"""The largest valid and invalid requests for each route, generated from the route table and its types."""

from __future__ import annotations

import json
import typing
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
import msgspec.inspect as mi

from headrace.contract.limits import MAX_BODY_VALUES, MAX_EXPLAINED_VALUES, MAX_JSON_BYTES
from headrace.http.camel import camel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.api.route import Route

MANY: Final = 1_000_000
HUGE_CHARACTERS: Final = MAX_JSON_BYTES - 4096
HUGE_NUMBER: Final = 1.7e307
LONG_ITEMS: Final = 50
HEAD_CHARACTERS: Final = 50_000  # of a query: the head of a request may have 64 kB
UNCLOSED: Final = "/*x"  # a comment that begins and never ends
# Numbers of a text that is read as one.
NUMBERS: Final = frozenset({"experiment_id", "experiment_ids", "version", "page_token"})
Known = dict[str, list[str]]


def fields_of(route: Route) -> list[mi.Field]:
    """The fields of the request's type; none for a route that takes bytes."""
    if route.raw:
        return []
    info = mi.type_info(typing.get_type_hints(route.handler)["req"])
    assert isinstance(info, mi.StructType), "a request type is a Struct"
    return list(info.fields)


def core(kind: Any) -> Any:
    """A type without its annotations and without None."""
    while isinstance(kind, mi.Metadata | mi.UnionType):
        kind = kind.type if isinstance(kind, mi.Metadata) else kind.types[0]
    return kind


def value_of(name: str, kind: Any, known: Known, serial: int = 0) -> Any:
    """A small value of a type; one that exists, where there is one."""
    kind = core(kind)
    if isinstance(kind, mi.StructType):
        return {f.encode_name: value_of(f.encode_name, f.type, known, serial) for f in kind.fields}
    if isinstance(kind, mi.ListType):
        return [value_of(name, kind.item_type, known, serial)]
    if isinstance(kind, mi.EnumType):
        return list(kind.cls)[-1].value
    if isinstance(kind, mi.BoolType):
        return True
    if isinstance(kind, mi.FloatType):
        return 1.0 + serial % 100
    if isinstance(kind, mi.IntType):
        return 1 + serial % 100
    if name in known:
        return known[name][serial % len(known[name])]
    return str(serial) if name in NUMBERS else f"{name[:1]}{serial}"


def values_in(value: Any) -> int:
    """The number of values in a JSON value."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(sum(map(values_in, parts)), 1)


def required(route: Route, known: Known) -> dict[str, Any]:
    """The smallest body of a route."""
    return {
        f.encode_name: value_of(f.encode_name, f.type, known)
        for f in fields_of(route)
        if f.required
    }


def repeated(route: Route) -> list[mi.Field]:
    """The fields of a request that are lists."""
    return [f for f in fields_of(route) if isinstance(core(f.type), mi.ListType)]


def items(field: mi.Field, count: int, known: Known) -> list[Any]:
    """So many different items of a field that is a list."""
    kind = core(field.type).item_type
    return [value_of(field.encode_name, kind, known, n) for n in range(count)]


def garbage() -> Iterator[tuple[str, bytes]]:
    """Bodies that are wrong for every route."""
    yield "ones", ("[" + ones() + "]").encode()
    yield "ones without an end", ('{"unknown":[' + ones()).encode()
    yield "brackets without an end", b'{"a":' + b"[" * (4 << 20)
    yield "objects without an end", b'{"a":' * (1 << 20)
    yield "blanks", b" " * HUGE_CHARACTERS
    yield "quotes", b'"' * HUGE_CHARACTERS
    yield "a name of a field", ('{"' + "n" * HUGE_CHARACTERS + '":1}').encode()
    yield "a huge field", b'{"run_id":"' + b',\\"' * (HUGE_CHARACTERS // 3) + b'"}'
    yield "a text that is not closed", b'{"a":"' + b"\\" * 10_000_001


def bodies(route: Route, known: Known) -> Iterator[tuple[str, bytes]]:
    """Names and bodies, each as large as the route takes it, or larger."""
    small = required(route, known)
    head = json.dumps(small)[:-1] + ("," if small else "")
    huge = ",".join([str(HUGE_NUMBER)] * (MAX_BODY_VALUES - 100))
    yield "unknown huge numbers", (head + '"unknown":[' + huge + "]}").encode()
    yield "an unknown list", (head + '"unknown":[' + ones() + "]}").encode()
    for field in fields_of(route):
        name = field.encode_name
        kind = core(field.type)
        if isinstance(kind, mi.ListType):
            yield from lists(field, small, known)
        elif isinstance(kind, mi.StrType) and kind.max_length:
            yield f"a long {name}", encoded(small | {name: "x" * kind.max_length})
        elif isinstance(kind, mi.StrType):
            yield f"escapes in {name}", encoded(small | {name: ',"' * (HUGE_CHARACTERS // 3)})
        elif isinstance(kind, mi.IntType):
            yield f"digits of {name}", (head + f'"{name}":' + "1" * 4_000_000 + "}").encode()


def lists(field: mi.Field, small: dict[str, Any], known: Known) -> Iterator[tuple[str, bytes]]:
    """The same for one field that is a list."""
    name = field.encode_name
    (one,) = items(field, 1, known)
    count = MAX_BODY_VALUES // values_in(one) - len(small) - 8
    full = small | {name: items(field, count, known)}
    yield f"as many {name} as there may be", encoded(full)
    yield f"{name}, wrong at the end", encoded(full | {name: [*full[name], {"key": [5]}]})
    yield f"{name} in camelCase", encoded(camelled(full))
    yield (
        f"{name} in camelCase, wrong at the end",
        encoded(camelled(full | {name: [*full[name], {"key": [5]}]})),
    )
    explained = items(field, MAX_EXPLAINED_VALUES // values_in(one) - len(small) - 8, known)
    yield f"{name} to be explained", encoded(small | {name: [*explained, {"key": [5]}]})
    yield f"empty {name}", encoded(small | {name: [{}] * (MAX_EXPLAINED_VALUES - 20)})
    large = huge_numbers(one)
    if large != one:
        count = MAX_BODY_VALUES // values_in(one) - len(small) - 8
        yield f"{name} with huge numbers", encoded(small | {name: [large] * count})
    yield f"{name} with long texts", encoded(small | {name: [long_texts(one)] * LONG_ITEMS})
    item = json.dumps(one)
    million = f"[{','.join([item] * (MANY // 2))}]"
    yield f"a million {name}", (json.dumps(small)[:-1] + f', "{name}":{million}}}').encode()


def long_texts(value: Any) -> Any:
    """A JSON value with texts so long that `LONG_ITEMS` of it fill a body."""
    if isinstance(value, dict):
        return {name: long_texts(item) for name, item in value.items()}
    if isinstance(value, list):
        return [long_texts(item) for item in value]
    return "ä" * (HUGE_CHARACTERS // LONG_ITEMS // 16) if isinstance(value, str) else value


def huge_numbers(value: Any) -> Any:
    """A JSON value with numbers that take a decoder long."""
    if isinstance(value, dict):
        return {name: huge_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [huge_numbers(item) for item in value]
    return HUGE_NUMBER if isinstance(value, float) else value


def camelled(value: Any) -> Any:
    """A JSON value with the names of its fields in camelCase."""
    if isinstance(value, dict):
        return {camel(name): camelled(item) for name, item in value.items()}
    return [camelled(item) for item in value] if isinstance(value, list) else value


def encoded(value: Any) -> bytes:
    """As JSON."""
    return msgspec.json.encode(value)


@cache
def ones() -> str:
    """A million numbers."""
    return ",".join(["1"] * MANY)


def filters(route: Route, known: Known) -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests with a text that is a language: filters, order_by, page tokens."""
    small = required(route, known)
    names = {f.encode_name for f in fields_of(route)}
    texts: dict[str, str] = {
        "comments": UNCLOSED * 20_000,
        "a comment before much": UNCLOSED * 3_000 + "a" * 1_000_000,
        "backticks": "`" * 60_000,
        "a backtick before much": "`" + "a" * 1_000_000,
        "quotes": "'" * 60_001,
        "brackets": "(" * 60_000,
        "lists": "('a'," * 200_000,
        "words": "a = 1 AND " * 6_000,
        "comparisons": " AND ".join(f"params.p{n} = '{n}'" for n in range(500)),
        "a list": "run_id IN (" + ",".join(f"'{n:032}'" for n in range(10_000)) + ")",
        "values": "run_id IN (" + ",".join(["'a'"] * 200_000) + ")",
    }
    for name in {"filter", "page_token"} & names:
        for label, text in texts.items():
            yield f"{name} of {label}", small | {name: text}
    if "order_by" in names:
        for label, text in texts.items():
            item = text if route.path.partition("logged-models")[1] == "" else {"field_name": text}
            yield f"order_by of {label}", small | {"order_by": [item] * 30}


def queries(route: Route, known: Known) -> Iterator[tuple[str, str]]:
    """Names and query strings as long as a server takes them."""
    small = required(route, known)
    start = "&".join(f"{name}={quote(flat(value))}" for name, value in small.items())
    yield "names", start + "&" + "&".join(["a"] * (HEAD_CHARACTERS // 2))
    yield "signs", start + "&" + "&" * HEAD_CHARACTERS
    yield "percents", start + "&a=" + "%ff" * (HEAD_CHARACTERS // 3)
    for field in fields_of(route):
        name = field.encode_name
        count = HEAD_CHARACTERS // (len(name) + 10)
        many = [f"{name}={quote(flat(value_of(name, field.type, known, n)))}" for n in range(count)]
        yield f"many {name}", start + "&" + "&".join(many)[:HEAD_CHARACTERS]
        yield f"digits of {name}", f"{name}=" + "1" * HEAD_CHARACTERS + "&" + start
    for label, body in filters(route, known):
        pairs = [(n, one) for n, v in body.items() for one in (v if isinstance(v, list) else [v])]
        text = "&".join(f"{name}={quote(str(value)[:15_000])}" for name, value in pairs)
        yield label, text[:HEAD_CHARACTERS]


def flat(value: Any) -> str:
    """A value as a query has it."""
    return str(value[0]) if isinstance(value, list) else str(value)


def path_of(route: Route, known: Known, text: Callable[[str], str] = lambda name: name) -> str:
    """The route's path with values for its arguments."""
    segments = []
    for segment in route.path.split("/"):
        name = segment.strip("{}").removesuffix(":path")
        segments.append(known.get(name, [text(name)])[0] if segment.startswith("{") else segment)
    return "/".join(segments)
