"""Decodes requests with camelCase field names in C, like those with snake_case names.

Protobuf's JSON allows both spellings, but MLflow's validators know only snake_case: a field that
they require must be spelt so.
"""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

_WANTED: Final = "required"


def camel(name: str) -> str:
    """`run_id` as `runId`, by protobuf's rule."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


class CamelDecoder:
    """Decodes the same type as `msgspec.json.Decoder(cls)`, but with camelCase field names."""

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self._cls = cls
        self._renamed = _renamed(cls)
        self._decode = msgspec.json.Decoder(self._renamed, float_hook=float).decode

    def decode(self, body: bytes) -> Any:
        """A Struct of the type. Raises msgspec's errors, or UnicodeDecodeError."""
        return msgspec.convert(self._decode(body), self._cls, from_attributes=True)

    def convert(self, value: Any) -> Any:
        """A Struct of the type from a JSON value. Raises msgspec.ValidationError."""
        renamed = msgspec.convert(value, self._renamed)
        return msgspec.convert(renamed, self._cls, from_attributes=True)


@cache
def _renamed(cls: type[msgspec.Struct]) -> type[msgspec.Struct]:
    fields = msgspec.structs.fields(cls)
    names = {field.name: _spelling(field) for field in fields}
    given: list[Any] = []
    for field in fields:
        kind = _of(field.type)
        if field.required:
            given.append((field.name, kind))
        elif field.default_factory is not msgspec.NODEFAULT:
            given.append((field.name, kind, msgspec.field(default_factory=field.default_factory)))
        else:
            given.append((field.name, kind, field.default))
    return msgspec.defstruct(
        cls.__name__, given, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False
    )


def _spelling(field: msgspec.structs.FieldInfo) -> str:
    metas = [meta for meta in get_args(field.type)[1:] if isinstance(meta, msgspec.Meta)]
    checked = any(_WANTED in (meta.extra or {}).get("checks", ()) for meta in metas)
    return field.name if checked else camel(field.name)


def _of(kind: Any) -> Any:
    """The same type with renamed Structs."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _renamed(kind)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return Annotated[(_of(parts[0]), *parts[1:])]
    if origin is list:
        return list[_of(parts[0])]  # type: ignore[misc]
    if origin in (Union, UnionType):
        return Union[tuple(map(_of, parts))]  # noqa: UP007
    return kind
