"""A decoded span, before its translation."""

from __future__ import annotations

from typing import Any, NamedTuple

from headrace.contract.limits import MAX_SPAN_ITEMS


class Malformed(Exception):
    """The request is not OTLP."""


class TooManyItems(Exception):
    """A span has more attributes, events, links or nested values than the limit."""


class TooLongText(Exception):
    """The JSON of a span is longer than the limit."""


class Event(NamedTuple):
    """An event of a span. `attributes` are Python values."""

    name: str
    time_ns: int
    attributes: dict[str, Any]


class Link(NamedTuple):
    """A link of a span to another."""

    trace_id: bytes
    span_id: bytes
    attributes: dict[str, Any]


class RawSpan:
    """A span as it was sent. Times in nanoseconds since the epoch; `attributes` are stored texts."""

    __slots__ = (
        "attributes",
        "code",
        "end_ns",
        "events",
        "links",
        "message",
        "name",
        "parent_id",
        "span_id",
        "start_ns",
        "trace_id",
    )

    def __init__(self) -> None:
        self.trace_id = b""
        self.span_id = b""
        self.parent_id = b""
        self.name = ""
        self.start_ns = 0
        self.end_ns = 0
        self.code = 0  # 1: OK, 2: ERROR
        self.message = ""
        self.attributes: dict[str, str] = {}
        self.events: list[Event] = []
        self.links: list[Link] = []

    def check_items(self, attributes: int, events: int, links: int) -> None:
        """Raise TooManyItems beyond the limit."""
        if attributes + events + links > MAX_SPAN_ITEMS:
            raise TooManyItems
