"""Writes of new traces, and of clients' information about traces, in one statement (PostgreSQL).

These are most writes: a client sends the spans of a trace, and its information before, after or at
the same time. The writes are applied in memory as if none of the traces existed. The statement
replaces the columns of a trace that exists if a client has sent its information; if it exists
otherwise, nothing is written, and the writes are applied in a transaction.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.api.results import encode
from headrace.api.traces.assessments import read_sql as assessments_sql
from headrace.api.traces.state import ARTIFACT_LOCATION, CONTENT, Group, Needs, artifact_location
from headrace.api.traces.traces import read_sql, single_sql
from headrace.api.traces.traces import write_sql as sql
from headrace.api.traces.traces.read_sql import Found, InfoRow
from headrace.contract.errors import ApiError
from headrace.contract.limits import (
    MAX_SHOWN_METADATA,
    MAX_SHOWN_TRACE_TAG_KEY,
    MAX_SHOWN_TRACE_TAG_VALUE,
)
from headrace.db.base import COPY_ROWS
from headrace.db.errors import NeedsTransaction, UniqueViolation
from headrace.otlp.values import decoded

if TYPE_CHECKING:
    from headrace.api.traces.state import Held
    from headrace.api.traces.writes import Write
    from headrace.db.base import Tx

MAX_BYTES: Final = 1 << 20  # of the spans of a group
# The traces that this process has written last. A guess that one of them is new would be wrong; with
# several servers it may be wrong anyway, which costs a round trip.
MAX_RECENT: Final = 2000


class Recent:
    """The ids of the traces that were written last."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, trace_ids: Iterable[str]) -> None:
        """Remember the traces, and forget the oldest."""
        self._ids.update(dict.fromkeys(trace_ids))
        while len(self._ids) > MAX_RECENT:
            self._ids.popitem(last=False)

    def __contains__(self, trace_id: str) -> bool:
        return trace_id in self._ids


RECENT: Final = Recent()  # of this process


def is_possible(writes: Sequence[Write]) -> bool:
    """Whether `apply` can probably write a group: new traces, few spans, information."""
    spans = size = 0
    for write in writes:
        shape = write.in_one_statement()
        if shape is None:
            return False
        spans, size = spans + shape[0], size + shape[1]
    return spans < COPY_ROWS and size < MAX_BYTES


async def apply(tx: Tx, writes: Sequence[Write]) -> list[Any]:
    """Apply the writes in order. See `Kind.apply`.

    Raises NeedsTransaction, after which nothing is written or the writes may be applied again.
    """
    needs = Needs()
    for write in writes:
        write.need(needs)
    group = Group.assumed(tx, needs.experiments)
    for write in writes:
        try:
            write.apply(group)
        except ApiError as error:
            raise NeedsTransaction(error.message) from error
    written = await _write(tx, group, sorted(needs.experiments))
    RECENT.add(group.traces)
    shown = {write.trace_ids[0] for write in writes if write.reads_back}
    found = {id_: _row(group.traces[id_], written) for id_ in shown}
    assessed = [id_ for id_ in shown if id_ in written.started and written.started[id_].is_assessed]
    of_traces: dict[str, list[Any]] = {}
    if assessed:
        for row in await assessments_sql.of_traces(tx, assessed, read_sql.ALL):
            of_traces.setdefault(row[1], []).append(row)
    return [
        Found([found[write.trace_ids[0]]], of_traces.get(write.trace_ids[0], []))
        if write.reads_back
        else None
        for write in writes
    ]


async def _write(tx: Tx, group: Group, experiments: Sequence[int]) -> single_sql.Written:
    """Write the traces of a group. Raises NeedsTransaction."""
    ordered = sorted(group.traces.items())
    rows: tuple[list[Any], list[Any]] = [], []  # traces with spans, traces with information only
    spans: list[Any] = []
    tags: list[Any] = []
    metadata: list[Any] = []
    for trace_id, held in ordered:
        rows[not held.spans].append(tuple(held.row.values()))
        for row in held.span_rows():
            row[CONTENT] = decoded(row[CONTENT])
            spans.append(row)
        del held.new_tags[ARTIFACT_LOCATION]  # the statement knows the location
        tags += [(key, trace_id, value) for key, value in held.new_tags.items()]
        metadata += [(key, trace_id, value) for key, value in held.new_metadata.items()]
    tags.sort()
    metadata.sort()
    try:
        written = await single_sql.write(tx, experiments, *rows, spans, tags, metadata)
    except UniqueViolation as error:
        raise NeedsTransaction(error.text) from error
    if written is None or len(written.started) < len(rows[1]):
        raise NeedsTransaction("a trace or an experiment is not as assumed")
    return written


def _row(held: Held, written: single_sql.Written) -> InfoRow:
    """Return the row of a trace after the write."""
    trace_id = held.row["request_id"]
    if (started := written.started.get(trace_id)) is not None:
        row = started.row
    else:
        columns: dict[str, Any] = {name: held.row[name] for name in read_sql.COLUMNS}
        row = InfoRow(**columns, tags=None, metadata=None)
    place = written.places[held.row["experiment_id"]]
    location = artifact_location(sql.Experiment(held.row["experiment_id"], place, ""), trace_id)
    tags = _merged(
        row.tags,
        {**held.new_tags, ARTIFACT_LOCATION: location},
        *(MAX_SHOWN_TRACE_TAG_KEY, MAX_SHOWN_TRACE_TAG_VALUE),
    )
    metadata = _merged(row.metadata, held.new_metadata, MAX_SHOWN_METADATA, MAX_SHOWN_METADATA)
    return row._replace(tags=tags, metadata=metadata)


def _merged(before: str | None, new: Mapping[str, str | None], key: int, value: int) -> str:
    """Return the JSON of tags or metadata, cut as MLflow shows them."""
    pairs = msgspec.json.decode(before) if before else {}
    pairs |= {name[:key]: (text or "")[:value] for name, text in new.items()}
    return encode(pairs).decode()
