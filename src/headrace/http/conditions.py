"""Conditional requests and byte ranges (RFC 9110 §13 and §14), for whoever serves files."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONE_RANGE: Final = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")


def not_modified(headers: Mapping[str, str], etag: str, modified_s: int) -> bool:
    """Whether the client's copy is current. `etag` is quoted, `modified_s` seconds since 1970."""
    if (wanted := headers.get("if-none-match")) is not None:
        tags = [tag.strip().removeprefix("W/") for tag in wanted.split(",")]
        return etag in tags or tags == ["*"]
    since = _date(headers.get("if-modified-since"))
    return since is not None and modified_s <= since


def byte_range(
    headers: Mapping[str, str], size: int, etag: str, modified_s: int
) -> tuple[int, int] | None:
    """First byte and byte after the last of a Range header; None where the whole is to be sent.

    Several ranges in one header are answered with the whole, as RFC 9110 §14.2 lets a server do.
    Raises ValueError when the range lies outside of the `size` bytes (the answer is 416).
    """
    match = _ONE_RANGE.fullmatch(headers.get("range", ""))
    if match is None or match.group(1) == match.group(2) == "":
        return None
    condition = headers.get("if-range")
    if condition is not None and condition != etag and _date(condition) != modified_s:
        return None
    first, last = match.groups()
    if not first:  # the last N bytes
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise ValueError(f"bytes */{size}")
    return start, stop


def _date(text: str | None) -> int | None:
    if not text:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, OverflowError):  # an offset of twenty digits, for one
        return None
