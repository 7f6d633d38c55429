"""Registered models sent in pieces: long pages, and models with too many tags to hold in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cache, partial
from typing import Final

from headrace.api.nouns import KeyValue
from headrace.api.pieces import Listing, Many, in_pieces
from headrace.api.registry.models import sql, transactions
from headrace.api.registry.models.lookup import existing
from headrace.api.registry.models.transactions import Belongings
from headrace.api.registry.models.types import Alias
from headrace.api.registry.models.view import models, versions_hidden
from headrace.api.registry.versions import pieces as versions
from headrace.api.registry.versions.sql import weigh_models
from headrace.auth.redactions import Hidden
from headrace.contract.errors import ApiError
from headrace.db.base import Database, Row

LISTS: Final = (
    Many(b"tags", sql.TAG_SIZES.of, sql.TAGS_BY_KEY.of, lambda row: KeyValue(row[0], row[1] or "")),
    Many(
        b"aliases",
        sql.ALIAS_SIZES.of,
        sql.ALIASES_BY_KEY.of,
        lambda row: Alias(row[0], str(row[1])),
    ),
)


async def parts(hidden: Hidden, db: Database, name: str) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of one model; nothing if the model does not exist."""
    try:
        row = await db.read(existing, name)
    except ApiError:  # deleted since the first read
        return
    (shown,) = models([row], Belongings((), (), ()), hidden)
    last = b""
    async with aclosing(in_pieces(db, shown, (name,), LISTS)) as found:
        async for part in found:
            if last:
                yield last
            last = part
    before = b',"latest_versions":['
    for version in await _newest(hidden, db, name):
        async with aclosing(versions.listed(hidden, db, (name, version[1]))) as found:
            async for part in found:
                yield before + part
                before = b""
        before = before or b","
    yield (b"]" if before == b"," else b"") + last


async def _newest(hidden: Hidden, db: Database, name: str) -> list[Row]:
    if hidden.model_versions or hidden.prompt_versions:
        tags = await db.read(sql.prompt_tag, name)
        if versions_hidden(tags, hidden):
            return []
    return await db.read(transactions.newest, name)


@cache
def listing(hidden: Hidden) -> Listing[str]:
    """The functions that read models for a caller."""
    return Listing(
        b"registered_models",
        weigh_models,
        transactions.read,
        lambda found: models(found[0], found[1], hidden),
        partial(parts, hidden),
    )
