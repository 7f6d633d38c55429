"""The JSON schemas of requests, with every form of a value that protobuf's JSON allows.

Integers may be text, enums may be numbers, and fields may be null or unknown, so a schema of the
decoder's types would be stricter than the routes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import msgspec.inspect as mi

if TYPE_CHECKING:
    from collections.abc import Collection

Object = dict[str, Any]  # JSON
UNREAD: Final = "has_json"  # of `Loose`: not part of the request
_DIGITS: Final = 18  # of a text: every such number fits into 64 bits
_DECIMAL: Final = {
    "type": "string",
    "pattern": rf"^[+-]?[0-9]{{1,{_DIGITS}}}(\.[0-9]{{0,{_DIGITS}}})?$",
}
_NULL: Final = {"type": "null"}


class Requests:
    """Creates schemas and collects the components that they refer to.

    `reference` is the format of a reference; `taken` are the names of other components.
    """

    def __init__(self, reference: str, taken: Collection[str] = ()) -> None:
        self._reference = reference
        self._taken = taken
        self.components: dict[str, Object] = {}

    def body(self, cls: type[msgspec.Struct]) -> Object:
        """Return the schema of a body of this type."""
        info = mi.type_info(cls)
        assert isinstance(info, mi.StructType), "a request type is a Struct"
        reference = self._struct(info)
        if any(map(is_required, info.fields)):
            return reference
        return {"anyOf": [reference, _NULL]}

    def query(self, cls: type[msgspec.Struct], arguments: list[str]) -> list[Object]:
        """Return the query parameters of this type, without the `arguments` in the path."""
        info = mi.type_info(cls)
        assert isinstance(info, mi.StructType), "a request type is a Struct"
        return [
            {
                "name": field.encode_name,
                "in": "query",
                "required": is_required(field),
                "schema": self._value(field.type, in_query=True),
            }
            for field in info.fields
            if field.encode_name not in (*arguments, UNREAD)
        ]

    def _struct(self, info: mi.StructType) -> Object:
        name = info.cls.__name__
        if name in self._taken:
            name += "Input"
        if name not in self.components:
            made: Object = {"title": name, "type": "object"}
            self.components[name] = made  # before its fields, which may refer to it
            if info.cls.__doc__:
                made["description"] = " ".join(info.cls.__doc__.split())
            made["properties"] = {
                field.encode_name: self._field(field)
                for field in info.fields
                if field.encode_name != UNREAD
            }
            required = [field.encode_name for field in info.fields if is_required(field)]
            if required:
                made["required"] = required
        return {"$ref": self._reference.format(name=name)}

    def _field(self, field: mi.Field) -> Object:
        schema = self._value(field.type)
        if is_required(field):
            return schema
        known = schema.get("anyOf", [schema])
        return {"anyOf": [*known, _NULL]}

    def _value(self, kind: Any, *, in_query: bool = False) -> Object:
        extra: Object = {}
        is_cut = False
        while isinstance(kind, mi.Metadata | mi.UnionType):
            if isinstance(kind, mi.Metadata):
                extra |= kind.extra_json_schema or {}
                is_cut |= bool((kind.extra or {}).get("cut"))
                kind = kind.type
            else:
                kind = next(t for t in kind.types if not isinstance(t, mi.NoneType))
        if isinstance(kind, mi.IntType):
            return _integer(kind, extra, is_cut=is_cut)
        if isinstance(kind, mi.FloatType):
            return {"anyOf": [{"type": "number"} | extra, _DECIMAL, {"type": "boolean"}]}
        return self._other(kind, in_query=in_query) | extra

    def _other(self, kind: Any, *, in_query: bool) -> Object:
        if isinstance(kind, mi.StructType):
            return self._struct(kind)
        if isinstance(kind, mi.ListType):
            items = self._value(kind.item_type, in_query=in_query)
            return {"type": "array", "items": items} | _bounds(kind, "Items")
        if isinstance(kind, mi.StrType):
            bounds = _bounds(kind, "Length")
            if in_query:  # the limit of a request's head is lower than any length limit
                bounds.pop("maxLength", None)
            return {"type": "string"} | bounds
        if isinstance(kind, mi.EnumType):
            names = [{"type": "string", "enum": [member.value for member in kind.cls]}]
            first = getattr(kind.cls, "__first_number__", 1)
            last = first + len(kind.cls) - 1
            numbers = {"type": "integer", "minimum": first, "maximum": last}
            known = "|".join(map(str, range(first, last + 1)))
            as_text = {"type": "string", "pattern": rf"^\+?0*({known})$"}
            return {"anyOf": [*names, numbers, as_text]}
        if isinstance(kind, mi.DictType):
            return {"type": "object", "additionalProperties": self._value(kind.value_type)}
        if isinstance(kind, mi.AnyType):
            return {}
        assert isinstance(kind, mi.BoolType), f"no schema for {kind}"
        if in_query:
            return {"type": "string", "pattern": "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"}
        return {"type": "boolean"}


def is_required(field: mi.Field) -> bool:
    """Whether a request without the field is rejected by the decoder or, if `DEMANDED`, later."""
    kind, is_demanded = field.type, False
    while isinstance(kind, mi.Metadata | mi.UnionType):
        if isinstance(kind, mi.Metadata):
            is_demanded |= bool((kind.extra or {}).get("demanded"))
            kind = kind.type
        else:
            kind = next(t for t in kind.types if not isinstance(t, mi.NoneType))
    return field.required or is_demanded


def _integer(kind: mi.IntType, extra: Object, *, is_cut: bool) -> Object:
    number: Object = {"type": "number" if is_cut else "integer"}
    if kind.ge is not None:
        number["minimum"] = kind.ge
    if kind.le is not None:
        number["maximum"] = kind.le
    number |= extra
    return {"anyOf": [number, _whole(number.get("minimum", -1), number.get("maximum"))]}


def _whole(least: float, most: float | None) -> Object:
    """The schema of an integer as text: of the integers between the bounds, all that have fewer digits."""
    digits = _DIGITS if most is None else min(_DIGITS, len(str(int(most))) - 1)
    sign = r"[+-]?" if least < 0 else r"\+?"
    if digits < 1:
        numbers = f"[{max(int(least), 0)}-{most}]"
    elif least > 0:
        numbers = f"[1-9][0-9]{{0,{digits - 1}}}"
    else:
        numbers = f"[0-9]{{1,{digits}}}"
    return {"type": "string", "pattern": rf"^{sign}0*{numbers}(\.0*)?$"}


def _bounds(kind: mi.ListType | mi.StrType, what: str) -> Object:
    found = {f"min{what}": kind.min_length, f"max{what}": kind.max_length}
    return {name: bound for name, bound in found.items() if bound is not None}
