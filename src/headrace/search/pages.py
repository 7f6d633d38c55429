"""Page tokens: standard base64 of `{"offset": N}`, as MLflow's client passes them back."""

from __future__ import annotations

import base64
import json

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.limits import MAX_PAGE_TOKEN, SEARCH_MAX_RESULTS

MAX_OFFSET = 2**63 - 1  # rows; the maximum of OFFSET in both databases


def page_token(offset: int) -> str:
    """The token of the page that starts after `offset` rows."""
    return base64.b64encode(b'{"offset": %d}' % offset).decode()


def check_max_results(limit: int, *, shows_zero: bool = True) -> int:
    """Return the page size of a search. Raises INVALID_PARAMETER_VALUE."""
    if limit < 1:
        shown = limit if limit or shows_zero else None
        raise invalid(
            f"Invalid value {shown} for parameter 'max_results' supplied. "
            "It must be a positive integer"
        )
    if limit > SEARCH_MAX_RESULTS:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. "
            f"It must be at most {SEARCH_MAX_RESULTS}"
        )
    return limit


def check_page_size(limit: int) -> int:
    """Return the page size of a list, whose error has other words than that of a search."""
    if not 1 <= limit <= SEARCH_MAX_RESULTS:
        raise invalid(
            f"max_results must be between 1 and {SEARCH_MAX_RESULTS}."
            " See the API docs for more information about request parameters."
        )
    return limit


def offset_of(token: str | None) -> int:
    """The number of rows before the page of `token`; 0 without one."""
    if not token:
        return 0
    if len(token) > MAX_PAGE_TOKEN:
        raise invalid(f"Invalid page token, it has more than {MAX_PAGE_TOKEN} characters")
    try:
        decoded = base64.b64decode(token)
    except ValueError as exc:  # wrong padding, or not ASCII
        raise invalid("Invalid page token, could not base64-decode") from exc
    try:
        parsed = json.loads(decoded)
    except (ValueError, RecursionError) as exc:
        raise invalid(f"Invalid page token, decoded value={decoded!r}") from exc
    offset = parsed.get("offset") if isinstance(parsed, dict) else None
    if not offset:
        raise invalid(f"Invalid page token, parsed value={parsed}")
    try:
        rows = int(offset)
    except (ValueError, TypeError, OverflowError) as exc:
        raise invalid(f"Invalid page token, not stringable {offset}") from exc
    if not 0 <= rows <= MAX_OFFSET:
        code = ErrorCode.INVALID_PARAMETER_VALUE if rows < 0 else ErrorCode.BAD_REQUEST
        raise ApiError(code, f"Invalid page token, parsed value={parsed}")
    return rows
