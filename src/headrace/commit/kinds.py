"""What the group commit is given: kinds of operations, and the operations that wait for their commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.db.base import Tx

if TYPE_CHECKING:
    import asyncio

    from headrace.contract.errors import ApiError

# Bounds of one transaction, which keep its COMMIT short for those that wait behind it.
MAX_GROUP_OPS: Final = 256
MAX_GROUP_BYTES: Final = 2 << 20  # estimated, of parameters: about 12,000 points

Apply = Callable[[Tx, Sequence[Any]], Awaitable[list[Any]]]


class Excluded(Exception):
    """Raised by an `apply` after it has written: run the group again without these operations.

    `answers` maps the `id()` of an operation to its error.
    """

    def __init__(self, answers: dict[int, ApiError]) -> None:
        super().__init__(answers)
        self.answers = answers


class Kind:
    """A kind of operation: how a sequence of them is applied in one transaction.

    `apply(tx, ops)` returns one result per operation; a result that is an `ApiError` is that caller's answer,
    and nothing of that operation has been written. `rank` orders kinds inside a group: everybody locks tables
    in the same order, so processes do not deadlock. `subject(op)` names the row (of a run, an experiment) that an
    operation locks: operations of one subject stay together when a group is split. `single(ops)` says whether
    `apply` will run exactly one statement, which then needs no BEGIN and COMMIT.

    An operation may be applied twice with the same result: after a COMMIT in doubt it is. `once` says that a client
    must not send it again in doubt: a client that sends create-run twice has two runs.
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
    """An operation in the queue, and the future of its caller. `since` is of `perf_counter`."""

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
        """Give the caller a result, or raise an error in it; nothing where it has one, or went away."""
        if self.future.done():
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


def bytes_of(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


Batches = list[tuple[Kind, list[Waiting]]]  # a group by kind, in the order of their ranks


def by_kind(group: Sequence[Waiting]) -> Batches:
    """The operations of a group by kind, in the order in which the kinds are applied."""
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
