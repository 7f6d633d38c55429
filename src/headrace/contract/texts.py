"""Rejection of texts that not every database can store."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.contract.errors import invalid
from headrace.contract.names import invalid_value

NUL: Final = "\x00"
REPLACEMENT: Final = "\ufffd"
SHOWN: Final = 50  # characters of the message on each side of a NUL


def refuse_nul(message: Any, path: str = "") -> None:
    """Raise INVALID_PARAMETER_VALUE for the first text of a request that contains NUL.

    PostgreSQL cannot store NUL, and SQLite's functions end a text there. `message` is a Struct, or the
    value at `path` of one. In the fields that a Struct names in `__replaced_nul__`, NUL is replaced.
    """
    if isinstance(message, str):
        if NUL in message:
            index = message.index(NUL)
            shown = message[max(index - SHOWN, 0) : index + SHOWN]
            raise invalid(invalid_value(path, shown, "Text must not contain NUL."))
    elif isinstance(message, msgspec.Struct):
        replaced = getattr(message, "__replaced_nul__", ())
        for name in message.__struct_fields__:
            value = getattr(message, name)
            if name in replaced and value is not None:
                setattr(message, name, value.replace(NUL, REPLACEMENT))
            else:
                refuse_nul(value, f"{path}.{name}" if path else name)
    elif isinstance(message, list):
        for n, item in enumerate(message):
            refuse_nul(item, f"{path}[{n}]")
    elif isinstance(message, dict):
        for key, item in message.items():
            refuse_nul(key, path)
            refuse_nul(item, f"{path}.{key}" if path else key)
