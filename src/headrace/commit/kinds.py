"""The kinds of operations that the group commit accepts, and operations that wait for their commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.db.base import Tx

if TYPE_CHECKING:
    import asyncio

    from headrace.contract.errors import ApiError

# Bounds of one transaction: later operations wait for its COMMIT, which must be short.
MAX_GROUP_OPS: Final = 256
MAX_GROUP_BYTES: Final = 2 << 20  # estimated, of parameters: about 12,000 points

Apply = Callable[[Tx, Sequence[Any]], Awaitable[list[Any]]]


class Excluded(Exception):
    """Raised by an `apply` that has already written: the group must run again without these operations.

    `answers` maps the `id()` of an operation to its error.
    """

    def __init__(self, answers: dict[int, ApiError]) -> None:
        super().__init__(answers)
        self.answers = answers


class Kind:
    """A kind of operation, and how to apply a sequence of them in one transaction.

    `apply(tx, ops)` returns one result per operation. An `ApiError` as result goes to the caller of
    that operation, of which nothing has been written. `rank` orders the kinds inside a group: every
    process locks tables in the same order, so no two deadlock. `subject(op)` names the row (of a
    run, an experiment) that an operation locks: operations of one subject stay together when a
    group is split. `single(ops)` tells whether `apply` will run exactly one statement, which then
    needs no BEGIN and COMMIT.

    Applying an operation twice has the same effect as once: after a COMMIT in doubt it runs again.
    `once` marks operations that a client must not repeat after an unknown outcome: create-run sent
    twice makes two runs.
    """

    __slots__ = ("apply", "name", "once", "rank", "single", "subject")

    def __init__(
        self,
        name: str,
        rank: int,
        apply: Apply,
        *,
        subject: Callable[[Any], Hashable],
        single: Callable[[Sequence[Any]], bool] = lambda ops: False,
        once: bool = False,
    ) -> None:
        self.name = name
        self.rank = rank
        self.apply = apply
        self.subject = subject
        self.single = single
        self.once = once


class Waiting:
    """An operation in the queue, and the future of its caller. `since`: the `perf_counter` of its arrival."""

    __slots__ = ("cost_bytes", "future", "kind", "op", "since")

    def __init__(
        self, kind: Kind, op: Any, cost_bytes: int, future: asyncio.Future[Any], since: float
    ) -> None:
        self.kind = kind
        self.op = op
        self.cost_bytes = cost_bytes
        self.future = future
        self.since = since

    @property
    def subject(self) -> Hashable:
        """The row that the operation locks. See `Kind`."""
        return self.kind.subject(self.op)

    def answer(self, result: Any) -> None:
        """Set the caller's result or error, unless it is set already or the caller has left."""
        if self.future.done():
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


def bytes_of(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


Batches = list[tuple[Kind, list[Waiting]]]  # a group by kind, in order of rank


def by_kind(group: Sequence[Waiting]) -> Batches:
    """The operations of a group by kind, in order of rank."""
    kinds: dict[Kind, list[Waiting]] = {}
    for waiting in group:
        kinds.setdefault(waiting.kind, []).append(waiting)
    return sorted(kinds.items(), key=lambda item: item[0].rank)


def answer_all(batches: Batches, results: Sequence[Sequence[Any]]) -> None:
    """Give every caller of a committed group its result."""
    for (_, waitings), of_kind in zip(batches, results, strict=True):
        for waiting, result in zip(waitings, of_kind, strict=True):
            waiting.answer(result)


def halves(group: Sequence[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
    """Two parts of a group, in order. The operations of a subject stay together unless there is only one subject."""
    subjects = list(dict.fromkeys(waiting.subject for waiting in group))
    if len(subjects) == 1:
        middle = len(group) // 2
        return list(group[:middle]), list(group[middle:])
    first = set(subjects[: len(subjects) // 2])
    return (
        [waiting for waiting in group if waiting.subject in first],
        [waiting for waiting in group if waiting.subject not in first],
    )
