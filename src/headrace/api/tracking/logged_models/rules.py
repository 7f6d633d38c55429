"""A rule of logged models that depends on the filter of a search. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.search.logged_models import parse_filter
from headrace.search.tree import compares

if TYPE_CHECKING:
    from headrace.api.tracking.logged_models.types import SearchLoggedModels


def filters_by_run(req: SearchLoggedModels) -> bool:
    """Whether the answer tells the runs of models by which models it contains."""
    return compares(parse_filter, req.filter, "source_run_id")
