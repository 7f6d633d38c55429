"""Long lists, read and encoded in pieces of bounded size.

Most pages are small: one read fetches them and one call encodes them. For a large page, the keys
are read first. Then a few items are read at a time if the resource can limit such a read
(`read_few`). Otherwise the sizes of the items are read (`weigh`), then as many items as fit in one
piece. Each step is a separate short read, so that no connection and no snapshot is held while the
server waits for a client. An item that changes in the meantime appears as it was when its piece was
read; an item that is deleted in the meantime is left out.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from headrace.api.results import (
    HELD_BYTES,
    Beginning,
    Chunks,
    Encoded,
    TooLong,
    encode,
    encode_into,
)
from headrace.db.base import Database, Row, Tx
from headrace.db.sql import Sql, statement

if TYPE_CHECKING:
    from headrace.search import Page

K = TypeVar("K")
M = TypeVar("M")
R = TypeVar("R")
Read = Callable[[Tx, Sequence[K]], Awaitable[Any]]  # the rows of those items that exist, in order
# The number of bytes that belong to each item.
Weigh = Callable[[Tx, Sequence[K]], Awaitable[Mapping[K, int]]]
# A page of at most this many items is read without being weighed, up to a maximum number of rows; a
# longer page is weighed first.
FEW_ITEMS: Final = 100
# Maximum number of items that are read before the length of the page is known; for a longer page,
# the keys are read first.
FIRST_ITEMS: Final = 1000
# Maximum number of rows of one table that are read for a few items without being weighed. It
# depends on the number of characters in a row:
MOST_ROWS: Final = 10_000  # hundreds
MOST_VALUES: Final = 2000  # up to 8,000: params and tags of runs
MOST_LARGE_ROWS: Final = 500  # up to 100,000: tags in the registry
MOST_OF_ONE: Final = 100  # up to 100,000: tags, aliases, params of one item other than a run
# Maximum number of bytes of an answer that is encoded in one call: about 20 ms of the event loop.
AT_ONCE_BYTES: Final = 2 << 20
PIECE_BYTES: Final = 512 << 10
# An item of more bytes is itself sent in pieces if its resource supports that.
HUGE_BYTES: Final = 4 << 20
ALL_ROWS: Final = 2**62  # a LIMIT without effect; adding 1 does not overflow
ITEM_BYTES: Final = 300  # of the columns of an item
_COMMA: Final = ord(",")
PAIR_BYTES: Final = 30  # of a param or tag, without its key and value


@dataclass(frozen=True, slots=True)
class Listing(Generic[K]):
    """The functions that read the items of a list; each takes the keys of some items."""

    field: bytes  # the name of the answer's field, as JSON
    weigh: Weigh[K]
    read: Read[K]
    show: Callable[[Any], list[Any]]  # converts these rows to Structs
    # Yields the JSON of a huge item.
    parts: Callable[[Database, K], AsyncGenerator[bytes, None]] | None = None
    # Like `read`, for items that were not weighed; raises `TooLong` for too many rows or bytes.
    read_few: Read[K] | None = None
    always_token: bool = False  # the last page has an empty token instead of none


class Many(NamedTuple):
    """A list of an item that may be too long for memory; the first column of a row is its key."""

    field: bytes  # the name of the item's field, as JSON
    sizes: Callable[[Tx], Sql]  # see `db.keyed`
    rows: Callable[[Tx], Sql]
    show: Callable[[Row], Any]  # converts a row to a Struct, or to key and value of an object
    is_object: bool = False  # the field is a JSON object, not a list
    begun: bytes = b""  # JSON of the field's first values
    without: Collection[str] = ()  # the keys of rows that are left out


async def in_pieces(
    db: Database, item: Any, args: Sequence[object], lists: Sequence[Many]
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of an item (a Struct without these lists) and the rows that `args` select.

    The lists stand where the Struct has them; the last part is the closing bracket.
    """
    of_field = {many.field.decode(): many for many in lists}
    values = msgspec.to_builtins(item)
    ready, comma = b"{", b""
    for name in item.__struct_encode_fields__:
        if name in of_field:
            many = of_field[name]
            begin = ready + comma + b'"%b":' % name.encode() + (b"{" if many.is_object else b"[")
            end = b"}" if many.is_object else b"]"
            if many.begun:
                yield begin + many.begun
                begin, ready, comma = b",", end, b","
            async with aclosing(_rows_in_pieces(db, args, many)) as found:
                async for rows in found:
                    yield begin + rows
                    begin, ready, comma = b",", end, b","
        elif name in values:
            ready += comma + b'"%b":%b' % (name.encode(), encode(values[name]))
            comma = b","
    yield ready
    yield b"}"


async def _rows_in_pieces(
    db: Database, args: Sequence[object], many: Many
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of a list in parts, without the brackets."""
    place: str | None = None
    found: list[Row] = []
    while place is None or len(found) == MOST_ROWS:
        found = await db.read(_fetch, many.sizes, (*args, place, MOST_ROWS))
        if not found:
            break
        place = found[-1][0]
        wanted = [row[0] for row in found if row[0] not in many.without]
        for keys in groups(wanted, {row[0]: row[1] for row in found}):
            rows = await db.read(_fetch_keys, many.rows, args, keys)
            if rows:
                shown = map(many.show, rows)
                yield encode(dict(shown) if many.is_object else list(shown))[1:-1]


async def answer_in_pieces(
    field: bytes, parts: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of an answer that holds one item."""
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
    """Return the rows. Raises `TooLong` if there are more than `most`."""
    if len(rows) > most:
        raise TooLong
    return rows


async def first_rows(tx: Tx, page: Page) -> tuple[Sequence[Row], str | None]:
    """Return the rows of a page and the token of the next page.

    Raises `TooLong` for more than `FIRST_ITEMS` rows.
    """
    first = page.beginning(FIRST_ITEMS)
    rows, token = first.cut(await tx.fetch(statement(first.text), *first.args))
    if token is not None and first is not page:
        raise TooLong
    return rows, token


async def at_once(
    tx: Tx, weigh: Weigh[K], keys: Sequence[K], read: Callable[[M], Awaitable[R]], few: M, every: M
) -> R:
    """Return the result of `read` for the items of a page if it is small enough for one read.

    A few items are first read with the limit `few`. If that is exceeded, or there are more items,
    they are weighed, then read with the limit `every`. Raises `TooLong`.
    """
    if len(keys) <= FEW_ITEMS:
        with suppress(TooLong):  # the rows may be many but small: their weight decides
            return await read(few)
    weights = await weigh(tx, keys)
    if sum(weights.values()) + ITEM_BYTES * len(keys) > AT_ONCE_BYTES:
        raise TooLong
    return await read(every)


def groups(
    keys: Sequence[K], weights: Mapping[K, int], piece_bytes: int = PIECE_BYTES
) -> Iterator[Sequence[K]]:
    """Yield the keys in order, in groups that fit in a piece; a larger item is a group alone."""
    start = size = 0
    for end, key in enumerate(keys):
        weight = ITEM_BYTES + weights.get(key, 0)
        if size and size + weight > piece_bytes:
            yield keys[start:end]
            start, size = end, 0
        size += weight
    yield keys[start:]


async def keys_of(tx: Tx, page: Page) -> tuple[list[Any], str | None]:
    """Return the keys of a page and the token of the next page; `page` selects only the keys."""
    rows, token = page.cut(await tx.fetch(statement(page.text), *page.args))
    return [row[0] if len(row) == 1 else tuple(row) for row in rows], token


async def long_page(db: Database, listing: Listing[K], page: Page) -> Chunks:
    """Return the answer for a page in pieces; `page` selects only the keys."""
    keys, token = await db.read(keys_of, page)
    return Chunks(pieces(db, listing, keys, token))


def rest_of_page(db: Database, listing: Listing[K], begun: Beginning) -> Chunks:
    """Return the answer for a page whose first items are encoded."""
    held_bytes = max(HELD_BYTES, 2 * sum(map(len, begun.encoded)))
    rest = pieces(db, listing, begun.keys, begun.token, begun.encoded)
    return Chunks(rest, held_bytes=held_bytes)


class PageJson:
    """The JSON of a page, to which its items are added, at most FEW_ITEMS at a time."""

    def __init__(self, listing: Listing[Any], keys: Sequence[Any], token: str | None) -> None:
        self._begin = b'{"%b":' % listing.field
        self._json = bytearray(self._begin if keys else b"{")
        self._keys = keys
        self._token = token
        self._done = 0

    def remaining(self) -> Sequence[Any]:
        """The keys of the items that come next; none when all are added."""
        return self._keys[self._done : self._done + FEW_ITEMS]

    def add(self, items: Sequence[Any]) -> None:
        """Add the next items. Raises `TooLong` with them if the page is likely to be too long."""
        # The opening bracket of a further list overwrites the closing bracket of the previous one.
        place = len(self._json) - (self._done > 0)
        encode_into(items, self._json, place)
        if self._done:
            self._json[place] = _COMMA
        self._done += FEW_ITEMS
        # The estimate assumes that the remaining items are as large as these.
        total = len(self._keys)
        if self._done < total and len(self._json) * total > AT_ONCE_BYTES * self._done:
            raise TooLong(self.beginning())

    def beginning(self) -> Beginning:
        """The items that are encoded, and the keys of the others."""
        encoded = [bytes(self._json[len(self._begin) + 1 : -1])] if self._done else []
        return Beginning(encoded, self._keys[self._done :], self._token)

    def answer(self) -> Encoded:
        """Return the answer, when all items are added."""
        if self._token:
            comma = b"," if self._keys else b""
            self._json += comma + b'"next_page_token":' + encode(self._token)
        self._json += b"}"
        return Encoded(bytes(self._json))


def whole_page(
    listing: Listing[K], items: Sequence[Any], keys: Sequence[K], token: str | None
) -> Encoded:
    """Return the answer for a page.

    If the page is likely to be too long, raises `TooLong` with the JSON of its first items.
    """
    page = PageJson(listing, keys, token)
    for start in range(0, len(items), FEW_ITEMS):
        page.add(items[start : start + FEW_ITEMS])
    return page.answer()


async def pieces(
    db: Database,
    listing: Listing[K],
    keys: Sequence[K],
    token: str | None,
    encoded: Sequence[bytes] = (),
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of a page: the `encoded` items, the items with these keys, the next token."""
    opening = before = b'{"%b":[' % listing.field
    for some in encoded:
        yield before + some
        before = b","
    # If a few items were already too much for one read, a second attempt would fail as well.
    read_few = listing.read_few if encoded or len(keys) > FEW_ITEMS else None
    async with aclosing(_items(db, listing, keys, read_few)) as items:
        async for item in items:
            yield before + item
            before = b""
    has_token = token or listing.always_token
    end = b'"next_page_token":' + encode(token or "") if has_token else b""
    if before is opening:
        yield b"{" + end + b"}"
    else:
        yield b"]" + (b"," + end if end else b"") + b"}"


async def all_in_pieces(
    db: Database,
    field: bytes,
    following: Callable[[Tx, K | None], Awaitable[Sequence[K]]],
    weigh: Weigh[K],
    items: Callable[[Sequence[K]], Awaitable[list[Any]]],
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of a list that has no pages.

    `following` returns the keys after one (None: the first), fewer than FEW_ITEMS at the end of the
    list. `items` reads the items with some keys and converts them to Structs.
    """
    opening = before = b'{"%b":[' % field
    last: K | None = None
    keys: Sequence[K] = await db.read(following, last)
    while keys:
        weights = await db.read(weigh, keys)
        for group in groups(keys, weights):
            if shown := await items(group):
                yield before + encode(shown)[1:-1]
                before = b","
        last = keys[-1]
        keys = await db.read(following, last) if len(keys) == FEW_ITEMS else ()
    yield b"{}" if before is opening else b"]}"


async def pieces_of(
    db: Database, listing: Listing[K], batches: AsyncIterator[Sequence[K]]
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of a list without pages, whose keys are read in batches."""
    opening = before = b'{"%b":[' % listing.field
    async for keys in batches:
        async with aclosing(_items(db, listing, keys, None)) as items:
            async for item in items:
                yield before + item
                before = b""
        if before is not opening:
            before = b","
    yield b"{}" if before is opening else b"]}"


async def _few(db: Database, listing: Listing[K], keys: Sequence[K], read: Read[K]) -> bytes | None:
    """Return the JSON of some items; None if they must be weighed or are too large."""
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
        read_few = None  # the remaining items are likely to be as large
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
