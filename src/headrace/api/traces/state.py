"""The traces that a group of writes changes, in memory, under the locks of their rows.

A group loads what its writes need, the writes change it one after another, and `flush` stores the
result with a fixed number of statements.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from headrace.api.traces.assessments import write_sql as assessments_sql
from headrace.api.traces.spans import write_sql as spans_sql
from headrace.api.traces.traces import write_sql as sql
from headrace.contract import errors
from headrace.contract.artifact_uri import append_path
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode
from headrace.contract.experiment_ids import not_active
from headrace.contract.texts import NUL
from headrace.otlp.usage import Node, values_of
from headrace.otlp.values import decoded, load

if TYPE_CHECKING:
    from headrace.api.traces.assessments.write_sql import Row as AssessmentRow
    from headrace.api.traces.traces.write_sql import Experiment
    from headrace.db.base import Tx

NAME: Final = "mlflow.traceName"
SPANS_LOCATION: Final = "mlflow.trace.spansLocation"
TRACKING_STORE: Final = "TRACKING_STORE"
ARTIFACT_LOCATION: Final = "mlflow.artifactLocation"
FINALIZED: Final = "mlflow.trace.infoFinalized"
TRACE_USER: Final = "mlflow.trace.user"
# The tags and metadata of existing traces that writes look at.
_TAGS: Final = (SPANS_LOCATION,)
_METADATA: Final = (FINALIZED, TRACE_USER)
# Spans are sent to the database in portions of about this many bytes, and the event loop runs in
# between.
PORTION_BYTES: Final = 1 << 20
CONTENT: Final = 9  # the place of the content in a row of spans
_PARENT: Final = 2  # the place of the parent in a row of `TraceSpans`
_BY_KEY: Final = itemgetter(0, 1)


class Held:
    """A trace whose row is locked, or which the group creates.

    `row` has the columns of `trace_info`; `tags` and `metadata` are those that were loaded or
    written; the other attributes are what is to be written.
    """

    __slots__ = (
        "costs",
        "gone_tags",
        "is_changed",
        "is_moved",
        "is_new",
        "metadata",
        "new_metadata",
        "new_tags",
        "parents",
        "row",
        "spans",
        "tags",
        "usage",
    )

    def __init__(self, row: dict[str, Any], *, is_new: bool) -> None:
        self.row = row
        self.is_new = is_new
        self.is_changed = is_new
        self.is_moved = False
        self.tags: dict[str, str | None] = {}
        self.metadata: dict[str, str | None] = {}
        self.new_tags: dict[str, str | None] = {}
        self.gone_tags: set[str] = set()
        self.new_metadata: dict[str, str | None] = {}
        self.spans: dict[str, tuple[Any, ...]] = {}
        # Parents of the stored spans by span id, and, for all spans that have any: usage and costs.
        self.parents: dict[str, str | None] = {}
        self.usage: dict[str, dict[str, Any]] = {}
        self.costs: dict[str, dict[str, Any]] = {}

    @property
    def is_stored_here(self) -> bool:
        """Whether the spans of the trace are rows of the database, or have not arrived yet."""
        return self.tags.get(SPANS_LOCATION) in (None, TRACKING_STORE)

    @property
    def is_finalized(self) -> bool:
        """Whether the client has sent the information of the trace, which then counts."""
        return FINALIZED in self.metadata

    def change(self, **columns: Any) -> None:
        """Set columns of the row."""
        for name, value in columns.items():
            if self.row[name] != value:
                self.row[name] = value
                self.is_changed = True

    def move(self, timestamp_ms: int) -> None:
        """Set the time of the trace, which its assessments repeat."""
        if self.row["timestamp_ms"] != timestamp_ms:
            self.change(timestamp_ms=timestamp_ms)
            self.is_moved = not self.is_new

    def tag(self, key: str, value: str | None) -> None:
        """Set a tag."""
        self.tags[key] = self.new_tags[key] = value
        self.gone_tags.discard(key)

    def untag(self, key: str) -> None:
        """Delete a tag."""
        del self.tags[key]
        self.new_tags.pop(key, None)
        self.gone_tags.add(key)

    def nodes(self, values: Mapping[str, dict[str, Any]]) -> Iterator[Node]:
        """Yield the tree of all spans, with their usage or costs."""
        new = {span_id: row[_PARENT] for span_id, row in self.spans.items()}
        for span_id, parent_id in (self.parents | new).items():
            yield Node(span_id, parent_id, values.get(span_id))

    def span_rows(self) -> Iterator[list[Any]]:
        """Yield the rows of the new spans in order; the contents are as `otlp.batch` left them."""
        experiment_id = self.row["experiment_id"]
        for _, (trace_id, span_id, *columns) in sorted(self.spans.items()):
            yield [trace_id, span_id, experiment_id, *columns]

    def note(self, key: str, value: str | None) -> None:
        """Set metadata."""
        self.metadata[key] = self.new_metadata[key] = value


class Needs:
    """The rows that a group of writes has to load: collected from its writes."""

    __slots__ = ("assessments", "experiments", "nodes", "overridden", "tags", "traces")

    def __init__(self) -> None:
        self.traces: set[str] = set()
        self.experiments: set[int] = set()
        self.assessments: set[str] = set()
        self.overridden: set[str] = set()  # assessments whose overridden one is needed too
        self.nodes: set[str] = set()  # traces whose usage is summed up again
        self.tags: set[str] = set(_TAGS)


class Group:
    """The traces, experiments and assessments that a group of writes uses."""

    def __init__(self) -> None:
        self.now_ms = now_ms()
        self.traces: dict[str, Held] = {}
        self.experiments: dict[int, Experiment] = {}
        self.assessments: dict[str, AssessmentRow] = {}
        self.new_assessments: dict[str, AssessmentRow] = {}
        self.gone_assessments: set[str] = set()
        self.links: dict[tuple[str, str, str], None] = {}
        self.too_long: Any = None

    @classmethod
    def assumed(cls, tx: Tx, experiments: Iterable[int]) -> Group:
        """Return a group for which no trace exists, and all experiments are active."""
        group = cls()
        group.too_long = lambda **values: sql.too_long(tx, values)
        group.experiments = {number: sql.Experiment(number, "", "active") for number in experiments}
        return group

    async def load(self, tx: Tx, needs: Needs) -> None:
        """Lock the existing traces, and read what belongs to them."""
        self.too_long = lambda **values: sql.too_long(tx, values)
        if needs.experiments:
            self.experiments = await sql.experiments(tx, needs.experiments)
        for row in await sql.locked(tx, sorted(needs.traces)):
            self.traces[row[0]] = Held(dict(zip(sql.COLUMNS, row, strict=True)), is_new=False)
        existing = list(self.traces)
        if not existing:
            return
        for id_, found in (await sql.pairs(tx, sql.TAGS, existing, sorted(needs.tags))).items():
            self.traces[id_].tags = found
        for id_, found in (await sql.pairs(tx, sql.METADATA, existing, _METADATA)).items():
            self.traces[id_].metadata = found
        if needs.assessments:
            self.assessments = await assessments_sql.by_ids(tx, sorted(needs.assessments))
            more = {
                self.assessments[id_].overrides
                for id_ in needs.overridden & self.assessments.keys()
            }
            if older := sorted({id_ for id_ in more if id_} - self.assessments.keys()):
                self.assessments |= await assessments_sql.by_ids(tx, older)
        summed = sorted(needs.nodes & self.traces.keys())
        for id_, span_id, parent_id, usage, cost in (
            await spans_sql.nodes(tx, summed) if summed else ()
        ):
            held = self.traces[id_]
            held.parents[span_id] = parent_id
            for known, text in ((held.usage, usage), (held.costs, cost)):
                if (values := _values(text)) is not None:
                    known[span_id] = values

    def active(self, number: int) -> Experiment:
        """The active experiment with this id. Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE."""
        experiment = self.experiments.get(number)
        if experiment is None:
            raise errors.experiment_not_found(number)
        if experiment.lifecycle_stage != "active":
            raise not_active(number, experiment.lifecycle_stage)
        return experiment

    def existing(self, trace_id: str) -> Held:
        """The trace with this id. Raises RESOURCE_DOES_NOT_EXIST."""
        held = self.traces.get(trace_id)
        if held is None:
            raise errors.not_found(f"Trace with ID '{trace_id}' not found.")
        return held

    def create(self, trace_id: str, experiment: Experiment, **columns: Any) -> Held:
        """Create a trace with the tag of its artifacts' location."""
        row = dict.fromkeys(sql.COLUMNS)
        row.update(columns, request_id=trace_id, experiment_id=experiment.experiment_id)
        row["db_payload_generation"] = 0
        held = self.traces[trace_id] = Held(row, is_new=True)
        held.tag(ARTIFACT_LOCATION, artifact_location(experiment, trace_id))
        return held

    def assess(self, row: AssessmentRow, held: Held) -> AssessmentRow:
        """Store an assessment of a trace; the row that is stored is returned."""
        row = row._replace(
            experiment_id=held.row["experiment_id"], trace_timestamp_ms=held.row["timestamp_ms"]
        )
        self.assessments[row.assessment_id] = self.new_assessments[row.assessment_id] = row
        self.gone_assessments.discard(row.assessment_id)
        return row

    def forget(self, assessment_id: str) -> None:
        """Delete an assessment."""
        del self.assessments[assessment_id]
        self.new_assessments.pop(assessment_id, None)
        self.gone_assessments.add(assessment_id)

    def link(self, trace_id: str, kind: str, destination: str) -> None:
        """Link a trace to a run or a version of a prompt."""
        self.links[trace_id, kind, destination] = None

    async def flush(self, tx: Tx) -> None:
        """Store everything that the writes changed."""
        ordered = sorted(self.traces.items())
        rows = [tuple(held.row.values()) for _, held in ordered if held.is_new]
        await sql.insert(tx, rows)
        changed = [
            tuple(held.row.values()) for _, held in ordered if held.is_changed and not held.is_new
        ]
        if changed:
            await tx.executemany(sql.UPDATE, changed)
        await _write_spans(tx, [held for _, held in ordered if held.spans])
        await _write_pairs(
            tx, sql.DELETE_TAGS, ((i, dict.fromkeys(h.gone_tags, "")) for i, h in ordered)
        )
        await _write_pairs(tx, sql.UPSERT_TAGS, ((id_, held.new_tags) for id_, held in ordered))
        await _write_pairs(
            tx, sql.UPSERT_METADATA, ((id_, held.new_metadata) for id_, held in ordered)
        )
        await self._write_assessments(tx, ordered)
        if self.links:
            now = self.now_ms
            await tx.executemany(
                sql.LINK,
                [
                    (uuid.uuid4().hex, "trace", trace_id, kind, destination, now)
                    for trace_id, kind, destination in sorted(self.links)
                ],
            )

    async def _write_assessments(self, tx: Tx, ordered: Sequence[tuple[str, Held]]) -> None:
        moved = [(id_, held.row["timestamp_ms"]) for id_, held in ordered if held.is_moved]
        if moved:
            await tx.executemany(assessments_sql.MOVE, moved)
        if self.gone_assessments:
            await tx.execute(assessments_sql.DELETE, tx.array(sorted(self.gone_assessments)))
        if self.new_assessments:
            rows = [row for _, row in sorted(self.new_assessments.items())]
            await tx.executemany(assessments_sql.UPSERT, rows)


async def _write_pairs(
    tx: Tx, statement: Any, pairs: Iterable[tuple[str, dict[str, str | None]]]
) -> None:
    """Write tags or metadata in the order of (key, trace)."""
    rows = [(key, id_, value) for id_, values in pairs for key, value in values.items()]
    if rows:
        rows.sort(key=_BY_KEY)
        is_delete = statement is sql.DELETE_TAGS
        await tx.executemany(statement, [row[:2] for row in rows] if is_delete else rows)


async def _write_spans(tx: Tx, traces: Sequence[Held]) -> None:
    """Write the spans of traces in order, in portions."""
    rows: list[list[Any]] = []
    are_new = all(held.is_new for held in traces)
    size = 0
    for held in traces:
        for row in held.span_rows():
            size += len(row[CONTENT])
            row[CONTENT] = decoded(row[CONTENT])  # here, so that one long text exists at a time
            rows.append(row)
            if size > PORTION_BYTES:
                await spans_sql.upsert(tx, rows, are_new=are_new)
                rows, size = [], 0
    await spans_sql.upsert(tx, rows, are_new=are_new)


def _values(part: str | None) -> dict[str, Any] | None:
    """The usage or cost of a text that begins with its JSON string."""
    if part is None:
        return None
    end = 1
    while (end := part.find('"', end)) > 0 and (len(part[:end]) - len(part[:end].rstrip("\\"))) % 2:
        end += 1
    text = load(part[: end + 1]) if end > 0 else None
    return values_of(text) if isinstance(text, str) else None


def artifact_location(experiment: Experiment, trace_id: str) -> str:
    """Return the location of a trace's artifacts."""
    before, after = _around_id(experiment.artifact_location or "")
    return f"{before}{trace_id}{after}"


@lru_cache(maxsize=256)
def _around_id(location: str) -> tuple[str, str]:
    """The text before and after a trace's id. Parsing the URI for each trace took 20 µs."""
    before, _, after = append_path(location, f"traces/{NUL}/artifacts").partition(NUL)
    return before, after


def no_longer_here(trace_id: str) -> ApiError:
    """Return the error for a client's information about a trace that has been archived."""
    return ApiError(
        ErrorCode.INVALID_STATE,
        f"Cannot update traces that are no longer DB-backed: '{trace_id}'.",
    )


def elsewhere(trace_id: str) -> ApiError:
    """Return the error for a write to a trace that belongs to another experiment."""
    return errors.invalid(f"Trace with ID '{trace_id}' already exists in another experiment.")
