"""A database whose transactions end as scripted by a test of the group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from headrace.commit.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from headrace.db.base import Tx

Op = tuple[str, str]  # subject, name
Script = Callable[[list[Op]], Exception | None]


class Transaction:
    """The operations that were applied in one transaction, and how it was run."""

    def __init__(self, ops: list[Op], lock_s: float, alone: bool) -> None:
        self.ops = ops
        self.lock_s = lock_s
        self.alone = alone

    @property
    def names(self) -> str:
        """The operations' names, in the order in which they were applied."""
        return " ".join(name for _, name in self.ops)


class ScriptedDatabase:
    """Records operations; `script(ops)` returns the error of the transaction, or None to commit it.

    `asked` has every transaction, `stored` the operations of the committed ones.
    """

    write_lanes = 1

    def __init__(self, script: Script = lambda ops: None) -> None:
        self.script = script
        self.asked: list[Transaction] = []
        self.stored: list[Op] = []
        self.pause_s = 0.0

    async def write_group(
        self, fn: Callable[..., Awaitable[Any]], *args: Any, lock_s: float, alone: bool = False
    ) -> Any:
        """See `Database.write_group`."""
        applied: list[Op] = []
        transaction = Transaction(applied, lock_s, alone)
        self.asked.append(transaction)
        result = await fn(applied, *args)
        await asyncio.sleep(self.pause_s)
        error = self.script(applied)
        if error is not None:
            raise error
        self.stored += applied
        return result


async def apply(tx: Tx, ops: Sequence[Op]) -> list[str]:
    """Record the operations; the result of each is its name in capitals."""
    applied: Any = tx
    applied += ops
    return [name.upper() for _, name in ops]


def kind(name: str = "log", rank: int = 1, *, once: bool = False, single: bool = False) -> Kind:
    """A kind of operation on (subject, name)."""
    return Kind(name, rank, apply, subject=lambda op: op[0], single=lambda ops: single, once=once)
