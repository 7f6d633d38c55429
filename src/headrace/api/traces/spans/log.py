"""The write of a request with spans, merged into their traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.api.traces.single import RECENT
from headrace.api.traces.state import (
    NAME,
    SPANS_LOCATION,
    TRACE_USER,
    TRACKING_STORE,
    Group,
    Held,
    Needs,
    elsewhere,
)
from headrace.api.traces.writes import Write
from headrace.contract.errors import ApiError, ErrorCode
from headrace.otlp.usage import CACHE_TOKENS, COSTS, TOKENS, cost, token_count, total

if TYPE_CHECKING:
    from headrace.otlp.batch import TraceSpans

IN_PROGRESS: Final = "IN_PROGRESS"
PENDING: Final = (IN_PROGRESS, "STATE_UNSPECIFIED")  # states that a root replaces
ARCHIVED: Final = "ARCHIVE_REPO"
TEXT: Final = 8  # the place of the content in a row of `TraceSpans`


class LogSpans(Write):
    """Stores spans, creates their traces where they do not exist yet, and updates the others.

    All spans of the request are written, or none.
    """

    __slots__ = ("experiment_id", "run_id", "traces")

    def __init__(
        self, experiment_id: int, traces: dict[str, TraceSpans], run_id: str | None
    ) -> None:
        """`run_id`: a run to which traces are linked when their root arrives."""
        super().__init__(*sorted(traces))
        self.experiment_id = experiment_id
        self.traces = traces
        self.run_id = run_id

    def need(self, needs: Needs) -> None:
        super().need(needs)
        needs.experiments.add(self.experiment_id)
        needs.nodes.update(spans.trace_id for spans in self.traces.values() if spans.has_usage)

    def in_one_statement(self) -> tuple[int, int] | None:
        if self.run_id is not None or any(id_ in RECENT for id_ in self.trace_ids):
            return None
        texts = [row[TEXT] for spans in self.traces.values() for row in spans.rows.values()]
        return len(texts), sum(map(len, texts))

    def apply(self, group: Group) -> None:
        known = {id_: held for id_ in self.trace_ids if (held := group.traces.get(id_)) is not None}
        for trace_id, held in known.items():
            if held.row["experiment_id"] != self.experiment_id:
                raise elsewhere(trace_id)
        _check_stored_here(known)
        if len(known) < len(self.traces):
            group.active(self.experiment_id)
        for trace_id in self.trace_ids:
            spans = self.traces[trace_id]
            held = known.get(trace_id) or _create(group, self.experiment_id, spans)
            _merge(held, spans)
            if self.run_id and spans.has_root:
                group.link(trace_id, "run", self.run_id)


def _check_stored_here(known: dict[str, Held]) -> None:
    """Raise INVALID_STATE for traces whose spans are not rows of the database."""
    away = [id_ for id_, held in known.items() if not held.is_stored_here]
    if not away:
        return
    shown = ", ".join(f"'{id_}'" for id_ in away)
    if all(known[id_].tags[SPANS_LOCATION] == ARCHIVED for id_ in away):
        raise ApiError(ErrorCode.INVALID_STATE, f"Cannot log spans to archived traces: {shown}.")
    raise ApiError(
        ErrorCode.INVALID_STATE,
        "Cannot log spans because one or more traces are unavailable for DB-backed span writes: "
        f"{shown}.",
    )


def _create(group: Group, experiment_id: int, spans: TraceSpans) -> Held:
    end_ms = spans.max_end_ms
    return group.create(
        spans.trace_id,
        group.active(experiment_id),
        timestamp_ms=spans.min_start_ms,
        execution_time_ms=None if end_ms is None else end_ms - spans.min_start_ms,
        status=spans.status or IN_PROGRESS,
    )


def _merge(held: Held, spans: TraceSpans) -> None:
    """Add the spans to their trace. The client's statements about the trace take precedence."""
    row = held.row
    if not held.is_finalized:
        _extend(held, spans)
    if row["status"] in PENDING and spans.status is not None:
        held.change(status=spans.status)
    for column, text in (("request_preview", spans.inputs), ("response_preview", spans.outputs)):
        if text is not None and row[column] is None:
            held.change(**{column: text})
    if spans.name is not None:
        held.change(trace_name=spans.name)
    if spans.session and row["session_id"] is None:
        held.change(session_id=spans.session)
    if spans.user and not held.metadata.get(TRACE_USER):
        held.note(TRACE_USER, spans.user)
    _add(held, spans)
    if spans.has_usage:
        _sum(held, spans)
    held.change(db_payload_generation=row["db_payload_generation"] + 1)
    held.tag(SPANS_LOCATION, TRACKING_STORE)
    for key, value in (spans.resource | spans.tags).items():
        if key != NAME:
            held.tag(key, value)


def _add(held: Held, spans: TraceSpans) -> None:
    """Add the rows of the spans, and what they used."""
    held.spans |= spans.rows
    for known, new in ((held.usage, spans.usage), (held.costs, spans.costs)):
        if known:  # a span that is sent again replaces its values
            for span_id in spans.rows:
                known.pop(span_id, None)
        known |= new


def _extend(held: Held, spans: TraceSpans) -> None:
    """Extend the time of the trace to that of its spans."""
    began, duration = held.row["timestamp_ms"], held.row["execution_time_ms"]
    start = min(began, spans.min_start_ms)
    if spans.max_end_ms is not None:
        end = spans.max_end_ms if duration is None else max(began + duration, spans.max_end_ms)
        held.change(execution_time_ms=end - start)
    held.move(start)


def _sum(held: Held, spans: TraceSpans) -> None:
    """Sum up usage and cost over all spans of the trace, unless the client has stated them."""
    row = held.row
    stated = held.is_finalized
    if spans.usage and not (
        stated and any(row[name] is not None for name in (*TOKENS, *CACHE_TOKENS))
    ):
        _set(held, total(held.nodes(held.usage), TOKENS, CACHE_TOKENS), token_count)
    if spans.costs and not (stated and any(row[name] is not None for name in COSTS)):
        _set(held, total(held.nodes(held.costs), COSTS), cost)


def _set(held: Held, sums: dict[str, Any], convert: Any) -> None:
    values = {name: convert(value) for name, value in sums.items()}
    held.change(**{name: value for name, value in values.items() if value is not None})
