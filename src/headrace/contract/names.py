"""Names with a meaning, and checks of the names of metrics, params, tags and models."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Final

from headrace.contract.errors import invalid, too_long
from headrace.contract.limits import MAX_ENTITY_KEY, MAX_EXPERIMENT_NAME

# The tag of a registered model, or of a version, whose value `true` makes it a prompt.
IS_PROMPT: Final = "mlflow.prompt.is_prompt"
_ALLOWED: Final = re.compile(r"[/\w.\- :]*")
MAX_SHOWN: Final = 20_000  # characters of a value in a message
# Size of the cache of valid keys. Clients choose the keys, so it must be bounded.
MAX_KNOWN: Final = 20_000
_known: set[str] = set()
# With it, callers format the path of an error message only if they need it.
is_known: Final = _known.__contains__


def invalid_value(path: str, value: object, reason: str = "") -> str:
    """Format MLflow's message for an invalid value; long values are cut."""
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        value = value[:MAX_SHOWN] + "…"
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return f"Invalid value {shown} for parameter '{path}' supplied" + (
        f": {reason}" if reason else "."
    )


def check_name(name: str, path: str) -> None:
    """Raise INVALID_PARAMETER_VALUE unless `name` is valid for a metric, param or tag."""
    if name in _known:
        return
    if _ALLOWED.fullmatch(name) is None:
        raise invalid(
            invalid_value(
                path,
                name,
                "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), "
                "spaces ( ), colon(:) and slashes (/).",
            )
        )
    check_path(path, name)
    if len(name) <= MAX_ENTITY_KEY:
        if len(_known) >= MAX_KNOWN:
            _known.clear()
        _known.add(name)


def check_path(path: str, name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE if `name` is not a normalized relative path."""
    normal = posixpath.normpath(name)
    if normal != name or normal == "." or normal.startswith(("..", "/")):
        raise invalid(
            invalid_value(
                path,
                name,
                "Names may be treated as files in certain cases, and must not resolve to other "
                f"names when treated as such. This name would resolve to {normal!r}",
            )
        )


def check_length(what: str, limit: int, value: str | None) -> None:
    """Raise INVALID_PARAMETER_VALUE if `value` has more than `limit` characters."""
    if value is not None and len(value) > limit:
        raise too_long(what, limit)


def check_experiment_name(name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a blank name, as MLflow 3.18, or one that is too long."""
    if not name.strip():
        raise invalid(f"Invalid experiment name: '{name}'")
    check_length("name", MAX_EXPERIMENT_NAME, name)


def check_model_name(name: str, path: str = "name") -> None:
    """Raise INVALID_PARAMETER_VALUE unless `name` is valid for a registered model."""
    if not name.strip():
        raise invalid(f"Missing value for required parameter '{path}'.")
    if "/" in name or ":" in name:
        raise invalid(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    # PostgreSQL cannot store NUL, and SQLite's JSON functions end a text there.
    if "\x00" in name:
        raise invalid(f"Invalid model name {name!r}. Names cannot contain NUL.")
    check_path("name", name)
