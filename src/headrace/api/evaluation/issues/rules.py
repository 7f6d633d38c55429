"""The rules of issues: limits of fields, in MLflow 3.18's words; filters that name runs. No I/O."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.search.issues import RUN, parse_filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.api.evaluation.issues.types import CreateIssue, UpdateIssue

MAX_ITEMS: Final = 100  # categories, entries of the metadata, values of a search
MAX_NAME: Final = 250  # characters; of a category and a key of the metadata too
MAX_PERSON: Final = 255
MAX_METADATA: Final = 65_536  # characters of a value
_ID: Final = re.compile(r"iss-[A-Za-z0-9_-]{1,32}")


def filters_by_run(req: Any) -> bool:
    """Whether the answer depends on the runs that issues come from; also for a filter that is not valid."""
    try:
        return any(one.key == RUN for one in parse_filter(req.filter_string))
    except ApiError:
        return True


def one_of(value: str | None, known: tuple[str, ...], what: str) -> str | None:
    """The value, if the request has it. Raises INVALID_PARAMETER_VALUE as MLflow 3.18."""
    if value is not None and value not in known:
        raise invalid(f"Invalid issue {what}: '{value}'")
    return value


def check_new(req: CreateIssue) -> None:
    """Check what a table of MLflow 3.18 stores. Raises INVALID_PARAMETER_VALUE."""
    _check_name(req.name)
    _check_last_seen(req.last_seen_timestamp)
    if req.issue_id is not None and not _ID.fullmatch(req.issue_id):
        raise invalid("issue_id must be iss-* and at most 36 characters")
    _check_person("created_by", req.created_by)
    check_texts("categories", req.categories)
    check_metadata(req.metadata or {})


def check_change(req: UpdateIssue) -> None:
    """Check what a table of MLflow 3.18 stores. Raises INVALID_PARAMETER_VALUE."""
    if req.name is not None:
        _check_name(req.name)
    _check_last_seen(req.last_seen_timestamp)
    _check_person("last_updated_by", req.last_updated_by)
    check_texts("categories", req.categories or ())
    check_texts("delete_metadata_keys", req.delete_metadata_keys)
    check_metadata(req.metadata or {})
    if set(req.metadata or ()) & set(req.delete_metadata_keys):
        raise invalid("Cannot update and delete the same key")


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME:
        raise invalid("Issue name must contain 1 to 250 characters")


def _check_last_seen(time_ms: int | None) -> None:
    if time_ms is not None and time_ms < 0:
        raise invalid("last_seen_timestamp must be nonnegative milliseconds")


def _check_person(field: str, name: str | None) -> None:
    if name is not None and len(name) > MAX_PERSON:
        raise invalid(f"Invalid {field}")


def check_texts(field: str, values: Iterable[str]) -> None:
    """Check a list of short texts. Raises INVALID_PARAMETER_VALUE."""
    found = list(values)
    if len(found) > MAX_ITEMS or not all(1 <= len(value) <= MAX_NAME for value in found):
        raise invalid(
            f"{field} must contain at most 100 nonempty strings of at most 250 characters"
        )


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Check the whole metadata of an issue. Raises INVALID_PARAMETER_VALUE."""
    if len(metadata) > MAX_ITEMS or not all(
        1 <= len(key) <= MAX_NAME and len(value) <= MAX_METADATA for key, value in metadata.items()
    ):
        raise invalid("metadata must be a string map with at most 100 entries")


def id_taken() -> ApiError:
    """An issue has the id that a request gives to a new one."""
    return ApiError(ErrorCode.RESOURCE_ALREADY_EXISTS, "Issue ID already exists")


def category_hash(category: str) -> str:
    """The value by which MLflow 3.18 finds a category, in any case and with blanks around it."""
    return hashlib.sha256(category.strip().lower().encode()).hexdigest()


def by_hash(categories: Iterable[str]) -> dict[str, str]:
    """The categories by their hash; of equal ones the last."""
    return {category_hash(category): category for category in categories}
