"""Model versions sent in pieces: long pages, and versions with too many tags to hold in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cache, partial
from typing import Final

from headrace.api.nouns import KeyValue
from headrace.api.pieces import Listing, Many, in_pieces
from headrace.api.registry.versions import sql
from headrace.api.registry.versions.lookup import existing_version
from headrace.api.registry.versions.sql import Key, Whole
from headrace.api.registry.versions.view import model_version
from headrace.auth.redactions import Hidden
from headrace.contract.errors import ApiError
from headrace.db.base import Database

TAGS: Final = Many(
    b"tags", sql.TAG_SIZES.of, sql.TAGS_BY_KEY.of, lambda row: KeyValue(row[0], row[1] or "")
)
ALIASES: Final = Many(b"aliases", sql.ALIAS_SIZES.of, sql.ALIASES_BY_KEY.of, lambda row: row[0])


async def parts(
    hidden: Hidden, db: Database, key: Key, lists: tuple[Many, ...] = (TAGS, ALIASES)
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of one version; nothing if the version does not exist."""
    try:
        row = await db.read(existing_version, *key)
    except ApiError:  # deleted since the first read
        return
    shown = model_version(Whole(row, ()), hidden)
    async with aclosing(in_pieces(db, shown, key, lists)) as found:
        async for part in found:
            yield part


def listed(hidden: Hidden, db: Database, key: Key) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of a version for a list: without its aliases."""
    return parts(hidden, db, key, (TAGS,))


@cache
def listing(hidden: Hidden) -> Listing[Key]:
    """The functions that read versions for a caller."""
    return Listing(
        b"model_versions",
        sql.weigh,
        sql.read,
        lambda found: [model_version(one, hidden) for one in found],
        partial(listed, hidden),
    )
