"""The rules of traces that depend on several fields of a request. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.api.traces.metrics.types import MetricView
from headrace.auth.rules import Need, Needs, every, experiment, required, values
from headrace.contract.errors import ApiError
from headrace.search.trace_filter import ASSESSMENTS, RUN, parse_filter, parse_order_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.auth.rules import Demand, Resource

# Metadata of traces that are ids of other resources.
TYPES: Final[dict[str, Resource]] = {RUN: "run", "mlflow.modelId": "logged_model"}
ALL: Final[frozenset[Resource]] = frozenset({"assessment", *TYPES.values()})


class ReadsTraces(Needs):
    """Users who may read the traces of every experiment in a request, of which there must be one.

    The answer tells which runs, logged models or assessments traces have, if a filter or the order
    asks for them; then the users must be allowed to read those too.
    """

    __slots__ = ("_filters", "_ids")

    def __init__(self, ids: str = "experiment_ids[]", *filters: str) -> None:
        """`filters` are the fields with filters, by default `filter`."""
        super().__init__(
            required(experiment("read", ids)), every("trace", "read", "experiment", ids)
        )
        self._ids = ids
        self._filters = filters or ("filter",)

    def demands(self, *sources: Any) -> Iterator[Demand]:
        """See `Rule.demands`."""
        yield from super().demands(*sources)
        req = sources[0]
        filters = [getattr(req, name, None) for name in self._filters]
        types = selected_types(filters, getattr(req, "order_by", ()))
        if getattr(req, "view_type", None) == MetricView.ASSESSMENTS:
            types |= {"assessment"}
        for resource in sorted(types):
            need = every(resource, "read", "experiment", self._ids)
            yield from map(need.demand, values(self._ids, req))


def selected_types(filters: Sequence[str | None], order_by: Sequence[str]) -> frozenset[Resource]:
    """The types whose ids decide which traces are found, or in which order.

    All of them for a filter or an order that is not valid.
    """
    try:
        conditions = [one for text in filters for one in parse_filter(text)]
        keys = parse_order_by(order_by)
    except ApiError:
        return ALL
    found: set[Resource] = set()
    named = [(one.entity, one.key) for one in conditions]
    for entity, key in named + [(one.entity, one.key) for one in keys]:
        if entity in ASSESSMENTS:
            found.add("assessment")
        elif entity == "request_metadata" and key in TYPES:
            found.add(TYPES[key])
    return frozenset(found)


def has_assessments(req: Any) -> bool:
    """Whether a new trace brings assessments."""
    return bool(req.trace.trace_info.assessments)


# Experiments or traces: whichever the caller may update.
ADDS_TO_TRACE: Final = Need("trace", "update", "trace_id", "experiment", named="trace", either=True)
