"""Rules for the tags of experiments: keys and lengths, custom views, trace archival."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from headrace.contract.errors import ApiError, invalid
from headrace.contract.limits import (
    MAX_CUSTOM_VIEWS,
    MAX_EXPERIMENT_TAG_KEY,
    MAX_EXPERIMENT_TAG_VALUE,
    MAX_TRACE_RETENTION,
)
from headrace.contract.names import check_length, check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

# The web page stores each saved view in a separate tag.
VIEW_PREFIX: Final = "mlflow.customView.view"
RETENTION: Final = "mlflow.trace.archivalRetention"
ARCHIVE_NOW: Final = "mlflow.trace.archiveNow"
_DURATION: Final = re.compile(r"[1-9][0-9]*[mhd]")


def check_tag(key: str, value: str | None) -> None:
    """Raise INVALID_PARAMETER_VALUE unless an experiment may have this tag."""
    check_name(key, "key")
    check_length("key", MAX_EXPERIMENT_TAG_KEY, key)
    check_length("value", MAX_EXPERIMENT_TAG_VALUE, value)
    if value is None:
        return
    if key == RETENTION:
        config = _config(value)
        if config.get("type") != "duration":
            raise invalid("Trace archival config must use type 'duration'.")
        _check_duration(config.get("value"))
    elif key == ARCHIVE_NOW:
        older_than = _config(value).get("older_than")
        if older_than is not None:
            _check_duration(older_than)


def _config(value: str) -> dict[str, object]:
    try:
        config = json.loads(value)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise invalid("Trace archival config must be encoded as a JSON object.")
    return config


def _check_duration(value: object) -> None:
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > MAX_TRACE_RETENTION:
        raise invalid(f"Trace archival duration must be at most {MAX_TRACE_RETENTION} characters.")
    if _DURATION.fullmatch(text) is None:
        raise invalid(
            "Trace archival retention must be in the form `<int><unit>`, "
            "where unit is one of 'm', 'h', or 'd'."
        )


def is_view(key: str) -> bool:
    """Whether a tag holds a custom view of the web page."""
    return key.startswith(VIEW_PREFIX)


def check_views(keys: Iterable[str]) -> None:
    """Raise INVALID_PARAMETER_VALUE if a new experiment would have too many custom views."""
    if sum(map(is_view, keys)) > MAX_CUSTOM_VIEWS:
        raise too_many_views("")


def too_many_views(of: str) -> ApiError:
    """Return the error for too many custom views; `of` is "" or ` for experiment N`."""
    return invalid(
        f"Unable to create another custom view{of}; the maximum number of custom views per "
        f"experiment is {MAX_CUSTOM_VIEWS}. Delete an existing custom view before creating a new one."
    )
