"""Keys of other programs as MLflow permits them."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from headrace.contract.limits import MAX_ENTITY_KEY

_FORBIDDEN: Final = re.compile(r"[^/\w.\- :]")


class Keys:
    """Converts the keys of one run. Two keys never become the same one."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._taken: set[str] = set()

    def permitted(self, key: str) -> str:
        """Return the key, with `_` for characters that MLflow does not permit, and cut to its limit."""
        found = self._known.get(key)
        if found is None:
            found = self._free(_normal(_FORBIDDEN.sub("_", key)))
            self._known[key] = found
            self._taken.add(found)
        return found

    def _free(self, key: str) -> str:
        found, number = key[:MAX_ENTITY_KEY], 2
        while found in self._taken:
            suffix = f"_{number}"
            found = key[: MAX_ENTITY_KEY - len(suffix)] + suffix
            number += 1
        return found


def _normal(key: str) -> str:
    normal = posixpath.normpath(key).lstrip("/")
    return "_" if normal in ("", ".") or normal.startswith("..") else normal
