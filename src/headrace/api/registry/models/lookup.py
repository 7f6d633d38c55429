"""Lookup of registered models, and checks of their tags and aliases."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from headrace.api.nouns import Tag
from headrace.api.registry.models import sql
from headrace.contract.errors import ApiError, invalid, not_found
from headrace.contract.limits import MAX_ALIAS, MAX_REGISTRY_TAG_KEY, MAX_REGISTRY_TAG_VALUE
from headrace.contract.names import IS_PROMPT, check_length, check_name
from headrace.db.base import Row, Tx

LATEST: Final = "latest"
_ALIAS: Final = re.compile(r"[\w\-]*")
_VERSION_ALIAS: Final = re.compile(r"[vV]\d+")


def model_not_found(name: str) -> ApiError:
    """Return the error for a registered model that does not exist."""
    return not_found(f"Registered Model with name={name} not found")


async def existing(tx: Tx, name: str) -> Row:
    """The row of a model (`sql.COLUMNS`). Raises RESOURCE_DOES_NOT_EXIST."""
    row = await tx.fetchrow(sql.MODEL.of(tx), name)
    if row is None:
        raise model_not_found(name)
    return row


def merged(tags: Iterable[Tag]) -> dict[str, str]:
    """The tags of a request as a dictionary: the last value of a key wins."""
    return {tag.key or "": tag.value or "" for tag in tags}


def is_prompt(tags: dict[str, str]) -> bool:
    """Whether a model or version with these tags is a prompt."""
    return tags.get(IS_PROMPT, "").lower() == "true"


def check_tag(key: str, value: str) -> None:
    """Raise unless a registered model may have this tag."""
    check_name(key, "key")
    check_length("key", MAX_REGISTRY_TAG_KEY, key)
    check_length("value", MAX_REGISTRY_TAG_VALUE, value)


def check_alias(alias: str) -> None:
    """Raise unless the text is a valid alias name."""
    if not _ALIAS.fullmatch(alias):
        raise invalid(
            f"Invalid alias name: '{alias}'. Names may only contain alphanumerics, "
            "underscores (_), and dashes (-)."
        )
    check_length("Registered model alias name", MAX_ALIAS, alias)


def check_settable(alias: str) -> None:
    """Raise for a reserved alias: `latest`, or `v` and a number."""
    if alias.lower() == LATEST:
        raise invalid("'latest' alias name (case insensitive) is reserved.")
    if _VERSION_ALIAS.fullmatch(alias):
        raise invalid(f"Version alias name '{alias}' is reserved.")
