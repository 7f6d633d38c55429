"""Range and conditional requests, read as stock MLflow's two web frameworks read them. No I/O.

Stock's native artifact routes read a header as `several` does, its other downloads as `single`.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

MAX_RANGES: Final = 100  # a request for more parts than this gets the whole file
_SINGLE: Final = re.compile(
    r"[ \t]*bytes[ \t]*=[ \t]*(?:(\d+)[ \t]*-[ \t]*(\d*)|-(\d+))[ \t]*", re.I
)
_TAG: Final = re.compile(r'([Ww]/)?"([^"]*)"')


class Span(NamedTuple):
    """Bytes `start` up to `end`, which is not included."""

    start: int
    end: int


class Malformed(Exception):
    """The Range header cannot be read; the text says why."""


class Unsatisfiable(Exception):
    """The Range header asks for bytes that the file does not have."""


def several(header: str, size: int) -> list[Span]:
    """The parts asked for, overlapping ones merged; empty for the whole file.

    Raises Malformed, Unsatisfiable. Parts that are not ranges are skipped while one part is.
    """
    unit, equals, parts = header.partition("=")
    if not equals:
        raise Malformed("Malformed range header.")
    if unit.strip().lower() != "bytes":
        raise Malformed("Only support bytes range")
    if parts.count(",") >= MAX_RANGES:
        return []
    spans = [span for part in parts.split(",") if (span := _span(part.strip(), size)) is not None]
    if not spans:
        raise Malformed("Range header: range must be requested")
    if any(not 0 <= span.start < size for span in spans):
        raise Unsatisfiable
    if any(span.start >= span.end for span in spans):
        raise Malformed("Range header: start must be less than end")
    return _merged(spans)


def _span(part: str, size: int) -> Span | None:
    first, dash, last = part.partition("-")
    if not dash or not (first or last):
        return None
    try:
        if not first.strip():
            return Span(max(size - int(last), 0), size)
        end = int(last) + 1 if last.strip() else size
        return Span(int(first), min(end, size))
    except ValueError:
        return None


def _merged(spans: list[Span]) -> list[Span]:
    if len(spans) == 1:
        return spans
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def single(header: str, size: int) -> Span:
    """The one part asked for. Raises Unsatisfiable for anything else."""
    match = _SINGLE.fullmatch(header)
    if match is None:
        raise Unsatisfiable
    first, last, suffix = match.groups()
    if suffix is not None:
        span = Span(size - int(suffix), size)
    else:
        span = Span(int(first), min(int(last) + 1, size) if last else size)
    if not 0 <= span.start < span.end:
        raise Unsatisfiable
    return span


def tags(header: str | None) -> list[tuple[bool, str]]:
    """The entity tags of a header such as If-None-Match, each with whether it is a weak one."""
    return [(bool(weak), tag) for weak, tag in _TAG.findall(header or "")]


def date(header: str | None) -> datetime | None:
    """The date of a header, None when it is absent or not a date."""
    if header is None:
        return None
    try:
        return parsedate_to_datetime(header)
    except ValueError:
        return None
