"""Conditional requests and byte ranges (RFC 9110 §13 and §14). No I/O.

The parts of the headers have one reading here, but their meaning differs: stock MLflow's native
artifact routes read a Range header as `several`, its other downloads as `single`; for the files of
the page `byte_range` follows the RFC.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RANGES: Final = 100  # a request for more parts than this gets the whole file
BEYOND_ANY_FILE: Final = 10**18
LONGEST_DATE: Final = 100  # characters
_ONE_RANGE: Final = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.ASCII)
_SINGLE: Final = re.compile(
    r"[ \t]*bytes[ \t]*=[ \t]*(?:(\d+)[ \t]*-[ \t]*(\d*)|-(\d+))[ \t]*", re.IGNORECASE | re.ASCII
)
_TAG: Final = re.compile(r'([Ww]/)?"([^"]*)"')


class Span(NamedTuple):
    """The bytes from `start` to `end` (exclusive)."""

    start: int
    end: int


class Malformed(Exception):
    """The Range header is malformed; the text says why."""


class Unsatisfiable(Exception):
    """The Range header requests bytes outside of the file."""


# parts of headers


def date(header: str | None) -> int | None:
    """The date of a header in seconds since 1970, None when it is absent or not a date."""
    if not header or len(header) > LONGEST_DATE:
        return None
    try:
        read = parsedate_to_datetime(header)
        if read.tzinfo is None:  # the zone -0000: UTC without a known local zone
            read = read.replace(tzinfo=UTC)
        return int(read.timestamp())
    except (ValueError, OverflowError):  # for example an offset of twenty digits
        return None


def tags(header: str | None) -> list[tuple[bool, str]]:
    """The entity tags of a header such as If-None-Match, as (is weak, tag)."""
    return [(bool(weak), tag) for weak, tag in _TAG.findall(header or "")]


def _offset(digits: str) -> int:
    """A number of any length; Python limits the digits of int()."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 18 else BEYOND_ANY_FILE


# the files of the page


def not_modified(headers: Mapping[str, str], etag: str, modified_s: int) -> bool:
    """Whether the client's copy is current. `etag` is quoted, `modified_s` seconds since 1970."""
    if (wanted := headers.get("if-none-match")) is not None:
        return wanted.strip() == "*" or etag in [f'"{tag}"' for _, tag in tags(wanted)]
    since = date(headers.get("if-modified-since"))
    return since is not None and modified_s <= since


def byte_range(headers: Mapping[str, str], size: int, etag: str, modified_s: int) -> Span | None:
    """The part that a Range header requests; None for the whole file.

    Several ranges in one header get the whole file, as RFC 9110 §14.2 allows.
    Raises Unsatisfiable when the range lies outside of the `size` bytes (the answer is 416).
    """
    match = _ONE_RANGE.fullmatch(headers.get("range", ""))
    if match is None or match.group(1) == match.group(2) == "":
        return None
    condition = headers.get("if-range")
    if condition is not None and condition != etag and date(condition) != modified_s:
        return None
    first, last = match.groups()
    if not first:  # the last N bytes
        span = Span(max(0, size - _offset(last)), size)
    else:
        if last and _offset(last) < _offset(first):
            return None
        span = Span(_offset(first), min(size, _offset(last) + 1) if last else size)
    if span.start >= span.end:
        raise Unsatisfiable
    return span


# downloads, as stock MLflow's two web frameworks read them


def several(header: str, size: int) -> list[Span]:
    """The requested parts, with overlapping ones merged; empty for the whole file.

    Raises Malformed, Unsatisfiable. Parts that are not ranges are skipped if at least one is.
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
    """The single requested part. Raises Unsatisfiable for anything else."""
    match = _SINGLE.fullmatch(header)
    if match is None:
        raise Unsatisfiable
    first, last, suffix = match.groups()
    if suffix is not None:
        span = Span(size - _offset(suffix), size)
    else:
        span = Span(_offset(first), min(_offset(last) + 1, size) if last else size)
    if not 0 <= span.start < span.end:
        raise Unsatisfiable
    return span
