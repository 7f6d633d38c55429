"""The gateway's lists, which have no pages: a short one is read at once, a long one in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.api.context import Context
from headrace.api.pieces import AT_ONCE_BYTES, FEW_ITEMS, FIRST_ITEMS, groups
from headrace.api.results import Chunks, TooLong, encode
from headrace.db.base import Row, Tx
from headrace.db.sql import statement
from headrace.search import GatewayRows
from headrace.search.gateway import START

Read = Callable[[Tx, Sequence[str]], Awaitable[list[Row]]]
Show = Callable[[Sequence[Row], Context], Awaitable[list[Any]]]


@dataclass(frozen=True, slots=True)
class GatewayList:
    """The functions of a list. `read` returns the rows with these ids in this order; `show` converts them."""

    field: bytes  # the name of the answer's field, as JSON
    read: Read
    show: Show


async def listed(ctx: Context, kind: GatewayList, rows: GatewayRows) -> list[Any] | Chunks:
    """All rows, or the answer in pieces. Cost of a short list: two statements in one read."""
    try:
        found = await ctx.db.read(_short, kind.read, rows)
    except TooLong:
        return Chunks(_pieces(ctx, kind, rows))
    return await kind.show(found, ctx)


async def _short(tx: Tx, read: Read, rows: GatewayRows) -> list[Row]:
    keys = await _keys(tx, rows, START, FEW_ITEMS + 1)
    if len(keys) > FEW_ITEMS or sum(int(row[2]) for row in keys) > AT_ONCE_BYTES:
        raise TooLong
    return await read(tx, [row[0] for row in keys])


async def _keys(tx: Tx, rows: GatewayRows, place: tuple[int, str], most: int) -> list[Row]:
    return await tx.fetch(statement(rows.text), *rows.after(place, most))


async def _pieces(
    ctx: Context, kind: GatewayList, rows: GatewayRows
) -> AsyncGenerator[bytes, None]:
    before, place = b'{"%b":[' % kind.field, START
    opening = before
    while keys := await ctx.db.read(_keys, rows, place, FIRST_ITEMS):
        place = rows.place(keys[-1])
        sizes = {row[0]: int(row[2]) for row in keys}
        for ids in groups([*sizes], sizes):
            items = await kind.show(await ctx.db.read(kind.read, ids), ctx)
            if items:
                yield before + encode(items)[1:-1]
                before = b","
    yield b"{}" if before is opening else b"]}"
