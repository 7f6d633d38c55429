"""Types shared by several resources."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from headrace.contract.scalars import Message

# The entity and action of an event as the database stores them: ("model_version", "created").
Event = tuple[str, str]


class ViewType(StrEnum):
    """The lifecycle stages that a search returns."""

    ACTIVE_ONLY = "ACTIVE_ONLY"
    DELETED_ONLY = "DELETED_ONLY"
    ALL = "ALL"

    @property
    def stages(self) -> tuple[str, ...]:
        """The corresponding `lifecycle_stage` values."""
        return {"ACTIVE_ONLY": ("active",), "DELETED_ONLY": ("deleted",)}.get(
            self.value, ("active", "deleted")
        )


class Tag(Message):
    """A key and a value; both may be missing in a request."""

    key: str | None = None
    value: str | None = None


class KeyValue(msgspec.Struct, gc=False):
    """A param or tag in an answer; positional and without GC, because a page holds thousands."""

    key: str
    value: str
