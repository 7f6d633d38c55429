"""Long lists, read and encoded in pieces of bounded size.

A page that is small, as most are, is read at once and encoded at once. Of a large one the keys are read first; then
some items at a time, if the resource can limit such a read (`read_few`), else how much there is (`weigh`), and as many
items as make one piece. Each step is a short read of its own, so that no connection and no snapshot waits for a client.
An item that is changed meanwhile comes as it was at the moment of its piece; one that is deleted meanwhile is left out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from headrace.api.results import Beginning, Chunks, Encoded, TooLong, encode, encode_into
from headrace.db.base import Database, Row, Tx
from headrace.db.sql import Sql, statement

if TYPE_CHECKING:
    from headrace.search import Page

K = TypeVar("K")
M = TypeVar("M")
R = TypeVar("R")
Read = Callable[[Tx, Sequence[K]], Awaitable[Any]]  # the rows of those items that exist, in order
Weigh = Callable[[Tx, Sequence[K]], Awaitable[Mapping[K, int]]]  # bytes of what belongs to items
# A page of at most so many items is read without being weighed, up to so many rows; one of more is weighed first.
FEW_ITEMS: Final = 100
# Items of a page that are read before their number is known; a longer page begins with its keys.
FIRST_ITEMS: Final = 1000
# Rows of one table that belong to a few items and are read without being weighed, by the characters of a row:
MOST_ROWS: Final = 10_000  # hundreds
MOST_VALUES: Final = 2000  # up to 8,000: params and tags of runs
MOST_LARGE_ROWS: Final = 500  # up to 100,000: tags in the registry
MOST_OF_ONE: Final = 100  # of one item outside of runs: tags, aliases, params; up to 100,000
# Bytes of an answer that is made at once: about 20 ms of the event loop.
AT_ONCE_BYTES: Final = 2 << 20
PIECE_BYTES: Final = 512 << 10
# An item beyond it comes in pieces itself, where its resource can do that.
HUGE_BYTES: Final = 4 << 20
ALL_ROWS: Final = 2**62  # a LIMIT that limits nothing, also when one is added
ITEM_BYTES: Final = 300  # of an item's own columns
_COMMA: Final = ord(",")
PAIR_BYTES: Final = 30  # of a param or tag, beside its key and value


@dataclass(frozen=True, slots=True)
class Listing(Generic[K]):
    """How the items of a list are read: each function gets the keys of some items."""

    field: bytes  # of the answer, as JSON
    weigh: Weigh[K]
    read: Read[K]
    show: Callable[[Any], list[Any]]  # these rows as Structs
    # The JSON of a huge item.
    parts: Callable[[Database, K], AsyncGenerator[bytes, None]] | None = None
    # As `read`, of items that were not weighed; raises `TooLong` when that is too much.
    read_few: Read[K] | None = None


class Many(NamedTuple):
    """A list of one item that may be too long to be held whole. The first column of its rows is their key."""

    field: bytes  # of the item, as JSON
    sizes: Callable[[Tx], Sql]  # see `db.keyed`
    rows: Callable[[Tx], Sql]
    show: Callable[[Row], Any]  # a row as a Struct


async def in_pieces(
    db: Database, item: Any, args: Sequence[object], lists: Sequence[Many]
) -> AsyncGenerator[bytes, None]:
    """The JSON of an item (a Struct without these lists), with the lists whose rows `args` select."""
    yield encode(item)[:-1]
    for many in lists:
        before = b',"%b":[' % many.field
        place: str | None = None
        found: list[Row] = []
        while place is None or len(found) == MOST_ROWS:
            found = await db.read(_fetch, many.sizes, (*args, place, MOST_ROWS))
            if not found:
                break
            place = found[-1][0]
            for keys in groups([row[0] for row in found], {row[0]: row[1] for row in found}):
                rows = await db.read(_fetch_keys, many.rows, args, keys)
                if rows:
                    yield before + encode([many.show(row) for row in rows])[1:-1]
                    before = b","
        if before == b",":
            yield b"]"
    yield b"}"


async def answer_in_pieces(
    field: bytes, parts: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The JSON of an answer that holds one item."""
    yield b'{"%b":' % field
    async with aclosing(parts) as found:
        async for part in found:
            yield part
    yield b"}"


async def _fetch(tx: Tx, of: Callable[[Tx], Sql], args: Sequence[object]) -> list[Row]:
    return await tx.fetch(of(tx), *args)


async def _fetch_keys(
    tx: Tx, of: Callable[[Tx], Sql], args: Sequence[object], keys: Sequence[str]
) -> list[Row]:
    return await tx.fetch(of(tx), *args, tx.array(keys))


def at_most(rows: list[Row], most: int) -> list[Row]:
    """The rows, unless there are more than `most`. Raises `TooLong`."""
    if len(rows) > most:
        raise TooLong
    return rows


async def first_rows(tx: Tx, page: Page) -> tuple[Sequence[Row], str | None]:
    """The rows of a page and the token of the next. Raises `TooLong` for more than `FIRST_ITEMS` rows."""
    first = page.beginning(FIRST_ITEMS)
    rows, token = first.cut(await tx.fetch(statement(first.text), *first.args))
    if token is not None and first is not page:
        raise TooLong
    return rows, token


async def at_once(
    tx: Tx, weigh: Weigh[K], keys: Sequence[K], read: Callable[[M], Awaitable[R]], few: M, every: M
) -> R:
    """What `read` finds for the items of a page, when that is little enough to be held at once.

    For a few items that is tried with the limit `few`. Beyond it, and for more items, they are weighed first, then read
    with the limit `every`. Raises `TooLong`.
    """
    if len(keys) <= FEW_ITEMS:
        with suppress(TooLong):  # many rows, perhaps of few bytes: their weight decides
            return await read(few)
    weights = await weigh(tx, keys)
    if sum(weights.values()) + ITEM_BYTES * len(keys) > AT_ONCE_BYTES:
        raise TooLong
    return await read(every)


def groups(keys: Sequence[K], weights: Mapping[K, int]) -> Iterator[Sequence[K]]:
    """The keys in their order, as many at a time as make a piece; one that is larger alone."""
    start = size = 0
    for end, key in enumerate(keys):
        weight = ITEM_BYTES + weights.get(key, 0)
        if size and size + weight > PIECE_BYTES:
            yield keys[start:end]
            start, size = end, 0
        size += weight
    yield keys[start:]


async def keys_of(tx: Tx, page: Page) -> tuple[list[Any], str | None]:
    """The keys of a page, of which `page` selects nothing else, and the token of the next page."""
    rows, token = page.cut(await tx.fetch(statement(page.text), *page.args))
    return [row[0] if len(row) == 1 else tuple(row) for row in rows], token


async def long_page(db: Database, listing: Listing[K], page: Page) -> Chunks:
    """The answer of a page whose keys `page` selects."""
    keys, token = await db.read(keys_of, page)
    return Chunks(pieces(db, listing, keys, token))


def whole_page(
    listing: Listing[K], items: Sequence[Any], keys: Sequence[K], token: str | None
) -> Encoded:
    """The answer of a page. Raises `TooLong` if it seems to be too long, with the JSON of its first items."""
    begin = b'{"%b":' % listing.field
    page = bytearray(begin if items else b"{")
    for start in range(0, len(items), FEW_ITEMS):
        done = start + FEW_ITEMS
        place = len(page) - (
            start > 0
        )  # a list that follows another begins in the place of its end
        encode_into(items[start:done], page, place)
        if start:
            page[place] = _COMMA
        # The items that follow are taken to be as large as these.
        if done < len(items) and len(page) * len(items) > AT_ONCE_BYTES * done:
            first = bytes(page[len(begin) + 1 : -1])
            raise TooLong(Beginning([first], keys[done:], token))
    if token:
        page += (b"," if items else b"") + b'"next_page_token":' + encode(token)
    page += b"}"
    return Encoded(bytes(page))


async def pieces(
    db: Database,
    listing: Listing[K],
    keys: Sequence[K],
    token: str | None,
    encoded: Sequence[bytes] = (),
) -> AsyncGenerator[bytes, None]:
    """The JSON of a page: the items that are `encoded`, those with the keys, and the token of the next page."""
    opening = before = b'{"%b":[' % listing.field
    for some in encoded:
        yield before + some
        before = b","
    # A few items that were too much for one read would be so again.
    read_few = listing.read_few if encoded or len(keys) > FEW_ITEMS else None
    async with aclosing(_items(db, listing, keys, read_few)) as items:
        async for item in items:
            yield before + item
            before = b""
    end = b'"next_page_token":' + encode(token) if token else b""
    if before is opening:
        yield b"{" + end + b"}"
    else:
        yield b"]" + (b"," + end if end else b"") + b"}"


async def _few(db: Database, listing: Listing[K], keys: Sequence[K], read: Read[K]) -> bytes | None:
    """The JSON of some items, or None when that cannot be read without being weighed, or is too large a piece."""
    try:
        found = await db.read(read, keys)
    except TooLong:
        return None
    piece = encode(listing.show(found))[1:-1]
    return piece if len(piece) <= 2 * PIECE_BYTES else None


async def _items(
    db: Database, listing: Listing[K], keys: Sequence[K], read_few: Read[K] | None
) -> AsyncGenerator[bytes, None]:
    comma = b""
    for start in range(0, len(keys), FEW_ITEMS):
        some = keys[start : start + FEW_ITEMS]
        piece = await _few(db, listing, some, read_few) if read_few else None
        if piece is not None:
            if piece:
                yield comma + piece
                comma = b","
            continue
        read_few = None  # the others are likely to be as large
        weights = await db.read(listing.weigh, some)
        for group in groups(some, weights):
            if listing.parts is not None and weights.get(group[0], 0) > HUGE_BYTES:
                found = False
                async with aclosing(listing.parts(db, group[0])) as parts:
                    async for part in parts:
                        yield part if found else comma + part
                        found = True
            else:
                items = listing.show(await db.read(listing.read, group))
                found = bool(items)
                if found:
                    yield comma + encode(items)[1:-1]
            comma = b"," if found else comma
