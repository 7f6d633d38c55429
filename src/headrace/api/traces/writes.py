"""The group commit of all writes to traces: start, spans, tags, assessments and links.

They are one kind of operation, because they lock the same rows: a group locks its traces once, in
the order of their ids, and each write then finds the traces as the previous ones left them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.api.traces import single
from headrace.api.traces.state import Group, Needs
from headrace.api.traces.traces import read_sql
from headrace.commit.kinds import Kind
from headrace.contract.errors import ApiError

if TYPE_CHECKING:
    from headrace.api.context import Context
    from headrace.db.base import Tx


class Write:
    """One write. It is checked by itself before it is submitted."""

    __slots__ = ("trace_ids",)

    # The result is the information of the trace after the write.
    reads_back = False

    def __init__(self, *trace_ids: str) -> None:
        self.trace_ids = trace_ids

    @property
    def subject(self) -> Hashable:
        """The traces that the write locks. See `Kind`."""
        return self.trace_ids[0] if len(self.trace_ids) == 1 else self.trace_ids

    def need(self, needs: Needs) -> None:
        """Add what `apply` will look at."""
        needs.traces.update(self.trace_ids)

    def in_one_statement(self) -> tuple[int, int] | None:
        """The number of spans and of bytes of their texts, if `single` can apply the write."""
        return None

    def apply(self, group: Group) -> Any:
        """Change the traces and return the result. Raises ApiError before it has changed anything."""
        raise NotImplementedError


async def apply(tx: Tx, writes: Sequence[Write]) -> list[Any]:
    """Apply the writes in order. See `Kind.apply`."""
    if tx.alone:
        return await single.apply(tx, writes)
    needs = Needs()
    for write in writes:
        write.need(needs)
    group = Group()
    await group.load(tx, needs)
    results: list[Any] = []
    for write in writes:
        try:
            results.append(write.apply(group))
        except ApiError as error:
            results.append(error)
    await group.flush(tx)
    single.RECENT.add(group.traces)
    shown = [
        write.trace_ids[0]
        for write, result in zip(writes, results, strict=True)
        if write.reads_back and not isinstance(result, ApiError)
    ]
    if shown:
        found = await read_sql.read(tx, shown)
        by_id = {row[0]: row for row in found.rows}
        for n, write in enumerate(writes):
            if write.reads_back and not isinstance(results[n], ApiError):
                trace_id = write.trace_ids[0]
                of_trace = [one for one in found.assessments if one[1] == trace_id]
                results[n] = read_sql.Found([by_id[trace_id]], of_trace)
    return results


def _subject(write: Write) -> Hashable:
    return write.subject


# `once`: a repeated assessment would be a second one.
KIND: Final = Kind("traces", 5, apply, subject=_subject, single=single.is_possible, once=True)


async def commit(ctx: Context, write: Write, cost_bytes: int = 1000) -> Any:
    """Write in the next group. Returns the write's result, or raises its error."""
    read_sql.check_served(ctx.db.schema)
    cost_bytes = min(cost_bytes, ctx.settings.write_queue_bytes // 2)
    return await ctx.writer.submit(KIND, write, cost_bytes)


async def commit_alone(ctx: Context, write: Write) -> Any:
    """Write in a transaction of its own: for a write that would fail when it is applied twice.

    Returns the write's result, or raises its error.
    """
    read_sql.check_served(ctx.db.schema)
    (result,) = await ctx.db.write(apply, [write])
    if isinstance(result, ApiError):
        raise result
    return result
