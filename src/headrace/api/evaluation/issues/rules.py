"""The rules of issues that depend on a filter. No I/O."""

from __future__ import annotations

from typing import Any

from headrace.contract.errors import ApiError
from headrace.search.issues import RUN, parse_filter


def filters_by_run(req: Any) -> bool:
    """Whether the answer depends on the runs that issues come from; also for a filter that is not valid."""
    try:
        return any(one.key == RUN for one in parse_filter(req.filter_string))
    except ApiError:
        return True
