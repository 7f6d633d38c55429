"""Reads times and durations in requests, in protobuf's JSON form."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from headrace.contract.errors import invalid
from headrace.contract.names import invalid_value

_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))"
)
_DURATION: Final = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def _fraction_ms(digits: str | None) -> int:
    return int((digits or "0").ljust(3, "0")[:3])


def time_ms(text: str, path: str) -> int:
    """Return the milliseconds since the epoch of a time in RFC 3339; finer digits are cut.

    Raises INVALID_PARAMETER_VALUE with the `path` of the field.
    """
    found = _TIME.fullmatch(text)
    try:
        if found is not None:
            parts = [int(part) for part in found.groups()[:6]]
            moment = datetime(*parts[:6], tzinfo=UTC)  # type: ignore[arg-type,misc]
            fraction, sign, hours, minutes = found.groups()[6:]
            ms = (moment - _EPOCH) // _MILLISECOND + _fraction_ms(fraction)
            offset_ms = (int(hours) * 60 + int(minutes)) * 60_000 if sign else 0
            return ms + offset_ms if sign == "-" else ms - offset_ms
    except ValueError:  # such as the 31st of February
        pass
    raise invalid(invalid_value(path, text, "It must be a time in RFC 3339."))


def duration_ms(text: str, path: str) -> int:
    """Return the milliseconds of a duration in seconds (`1.5s`); finer digits are cut.

    Raises INVALID_PARAMETER_VALUE with the `path` of the field.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise invalid(invalid_value(path, text, "It must be a duration in seconds, such as 1.5s."))
    sign, seconds, fraction = found.groups()
    ms = int(seconds) * 1000 + _fraction_ms(fraction)
    return -ms if sign else ms
