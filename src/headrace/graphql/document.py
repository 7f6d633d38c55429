"""Reads the part of GraphQL that the web page uses: one query, arguments, aliases, nested fields.

Fragments, mutations, several operations and the like raise `NotNative`, and so does a syntax error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from headrace.api.results import NotNative

_TOKEN: Final = re.compile(
    r"""(?:[\s,\ufeff]|\#[^\n\r]*+)*+(?:
    (?P<name>[_A-Za-z]\w*)
    |(?P<mark>\.\.\.|[!$():=@\[\]{}|&])
    |(?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<text>"(?:[^"\\\n\r]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*")
    |(?P<end>\Z))""",
    re.VERBOSE | re.ASCII,
)
MAX_DEPTH: Final = 10  # as stock
MAX_FIELDS: Final = 1000  # as stock
MAX_CHARACTERS: Final = 64 << 10  # of a query; the page's queries have 2,000
MAX_DIGITS: Final = 300  # of a number; Python refuses to parse 4,301
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
LITERALS: Final = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name` in an argument."""

    name: str


@dataclass(frozen=True, slots=True)
class Enum:
    """An enum value in an argument."""

    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a selection. `key` is its name in the answer; `fields` is empty for a scalar."""

    key: str
    name: str
    arguments: dict[str, Any]
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One operation: the declared type of each variable as text, and the root fields.

    `aliases` is the number of aliases in the selection that has the most.
    """

    name: str | None
    variables: dict[str, str]
    fields: tuple[Field, ...]
    aliases: int = 0


def parse(text: str) -> Query:
    """Parse a document with one operation. Raises NotNative for anything unusual."""
    if len(text) > MAX_CHARACTERS:
        raise NotNative("a long text")
    return _Parser(text).document()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._count = 0
        self._aliases = 0
        self._kind = ""
        self._value = ""
        self._advance()

    def _advance(self) -> None:
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            raise NotNative("not a token")
        self._at = match.end()
        self._kind = match.lastgroup or ""
        self._value = match[self._kind]

    def _take(self, value: str) -> bool:
        """Skip this mark or name if it is the next token. Return whether it was."""
        if self._kind in ("mark", "name") and self._value == value:
            self._advance()
            return True
        return False

    def _expect(self, value: str) -> None:
        if not self._take(value):
            raise NotNative(f"no {value}")

    def _name(self) -> str:
        if self._kind != "name":
            raise NotNative("no name")
        name = self._value
        self._advance()
        return name

    def document(self) -> Query:
        name, variables = None, {}
        if self._take("query"):
            if self._kind == "name":
                name = self._name()
            variables = self._variables()
            while self._take("@"):
                if self._name() != "component":
                    raise NotNative("another directive")
                if set(self._arguments()) != {"name"}:
                    raise NotNative("another argument")
        fields = self._selection(1)
        if self._kind != "end":
            raise NotNative("more than one definition")
        return Query(name, variables, fields, self._aliases)

    def _variables(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self._take("("):
            while not self._take(")"):
                self._expect("$")
                name = self._name()
                self._expect(":")
                found[name] = self._name() + ("!" if self._take("!") else "")
                if self._value in ("=", "@"):
                    raise NotNative("a default")
        return found

    def _selection(self, depth: int) -> tuple[Field, ...]:
        if depth > MAX_DEPTH:
            raise NotNative("too deep")
        self._expect("{")
        fields: list[Field] = []
        aliases = 0
        while not self._take("}"):
            field, is_alias = self._field(depth)
            fields.append(field)
            aliases += is_alias
            self._count += 1
            if self._count > MAX_FIELDS:
                raise NotNative("too many fields")
        if len({field.key for field in fields}) < len(fields) or not fields:
            raise NotNative("fields to be merged, or none")
        self._aliases = max(self._aliases, aliases)
        return tuple(fields)

    def _field(self, depth: int) -> tuple[Field, bool]:
        key = name = self._name()
        is_alias = self._take(":")
        if is_alias:
            name = self._name()
        arguments = self._arguments()
        if self._value == "@" and self._kind == "mark":
            raise NotNative("a directive")
        below = self._selection(depth + 1) if self._value == "{" else ()
        return Field(key, name, arguments, below), is_alias

    def _arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._take("("):
            while not self._take(")"):
                name = self._name()
                self._expect(":")
                if name in found:
                    raise NotNative("an argument twice")
                found[name] = self._argument()
        return found

    def _argument(self, depth: int = 1) -> Any:
        if depth > MAX_DEPTH:
            raise NotNative("too deep")
        kind, value = self._kind, self._value
        if kind == "text":
            self._advance()
            read = json.loads(value)
            if _SURROGATE.search(read):
                raise NotNative("no text")
            return read
        if kind == "number":
            if len(value) > MAX_DIGITS:
                raise NotNative("a long number")
            self._advance()
            return int(value) if value.lstrip("-").isdigit() else float(value)
        if kind == "name":
            self._advance()
            return LITERALS[value] if value in LITERALS else Enum(value)
        if self._take("$"):
            return Variable(self._name())
        if self._take("["):
            items = []
            while not self._take("]"):
                items.append(self._argument(depth + 1))
            return items
        self._expect("{")
        members: dict[str, Any] = {}
        while not self._take("}"):
            name = self._name()
            self._expect(":")
            if name in members:
                raise NotNative("a member twice")
            members[name] = self._argument(depth + 1)
        return members
