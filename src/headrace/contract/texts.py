"""Rejection of texts that not every database can store."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from headrace.contract.errors import invalid
from headrace.contract.names import invalid_value

NUL: Final = "\x00"
REPLACEMENT: Final = "\ufffd"
SHOWN: Final = 50  # characters of the message on each side of a NUL
# Half of a surrogate pair: JSON may have one as an escape, but no encoding of Unicode has it.
_LONE: Final = re.compile("[\ud800-\udfff]")


def is_unicode(text: str) -> bool:
    """Whether a text has a UTF-8 form: it has no lone surrogate."""
    return text.isascii() or _LONE.search(text) is None


def is_all_unicode(value: Any) -> bool:
    """Whether every text of a JSON value has a UTF-8 form."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            if not is_unicode(one):
                return False
        elif isinstance(one, dict):
            rest += one
            rest += one.values()
        elif isinstance(one, list):
            rest += one
    return True


def as_unicode(value: Any, replacement: str) -> Any:
    """A JSON value with the lone surrogates of its texts replaced."""
    if isinstance(value, str):
        return value if value.isascii() else _LONE.sub(replacement, value)
    if isinstance(value, dict):
        return {
            as_unicode(key, replacement): as_unicode(item, replacement)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [as_unicode(item, replacement) for item in value]
    return value


def refuse_unstorable(message: Any, path: str = "") -> None:
    """Raise INVALID_PARAMETER_VALUE for the first text with NUL or a lone surrogate.

    PostgreSQL cannot store NUL, SQLite's functions end a text there, and neither stores a surrogate.
    `message` is a Struct, or the value at `path` of one. In the fields that a Struct names in
    `__replaced_nul__`, NUL is replaced.
    """
    if isinstance(message, str):
        if NUL in message:
            index = message.index(NUL)
            shown = message[max(index - SHOWN, 0) : index + SHOWN]
            raise invalid(invalid_value(path, shown, "Text must not contain NUL."))
        if not is_unicode(message):
            raise invalid(f"Invalid value for parameter '{path}': Text must be valid Unicode.")
    elif isinstance(message, msgspec.Struct):
        replaced = getattr(message, "__replaced_nul__", ())
        for name in message.__struct_fields__:
            value = getattr(message, name)
            if name in replaced and value is not None:
                setattr(message, name, value.replace(NUL, REPLACEMENT))
            else:
                refuse_unstorable(value, f"{path}.{name}" if path else name)
    elif isinstance(message, list):
        for n, item in enumerate(message):
            refuse_unstorable(item, f"{path}[{n}]")
    elif isinstance(message, dict):
        for key, item in message.items():
            refuse_unstorable(key, path)
            refuse_unstorable(item, f"{path}.{key}" if path else key)
