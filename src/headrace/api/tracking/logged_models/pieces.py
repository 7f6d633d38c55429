"""Logged models in pieces: pages of many models, and models that are too large for one read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cache, partial
from typing import Final

from headrace.api.nouns import KeyValue
from headrace.api.pieces import MOST_VALUES, Listing, Many, in_pieces
from headrace.api.results import encode
from headrace.api.tracking.logged_models import sql
from headrace.api.tracking.logged_models.sql import Logged
from headrace.api.tracking.logged_models.types import LoggedModelData
from headrace.api.tracking.logged_models.view import models
from headrace.auth.redactions import Hidden
from headrace.db.base import Database

TAGS: Final = Many(
    b"tags",
    lambda _: sql.TAG_SIZES,
    lambda _: sql.TAGS_BY_KEY,
    lambda row: KeyValue(row[0], row[1]),
)
PARAMS: Final = Many(
    b"params",
    lambda _: sql.PARAM_SIZES,
    lambda _: sql.PARAMS_BY_KEY,
    lambda row: KeyValue(row[0], row[1]),
)


async def parts(hidden: Hidden, db: Database, model_id: str) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of one model; nothing if there is no such model."""
    row = await db.read(sql.row_of, model_id)
    if row is None:
        return
    (shown,) = models([row], Logged([], [], []), hidden)
    yield b'{"info":'
    async with aclosing(in_pieces(db, shown.info, (model_id,), (TAGS,))) as found:
        async for part in found:
            yield part
    yield b',"data":{"metrics":['
    place: tuple[object, ...] = (None,) * 4
    comma = b""
    while points := await db.read(sql.metrics_part, model_id, place, MOST_VALUES):
        (some,) = models([row], Logged([], [], points), hidden)
        yield comma + encode(some.data.metrics)[1:-1]
        last = points[-1]
        comma, place = b",", (last[1], last[3], last[4], last[7])
    yield b"]"
    async with aclosing(in_pieces(db, LoggedModelData(), (model_id,), (PARAMS,))) as found:
        async for part in found:
            if not part.startswith(b"{"):
                yield part
            elif len(part) > 1:  # the object is open and has metrics
                yield b"," + part[1:]
    yield b"}"


@cache
def listing(hidden: Hidden) -> Listing[str]:
    """Return the functions that read logged models for a caller."""
    return Listing(
        b"models",
        sql.weigh,
        sql.read,
        lambda found: models(found[0], found[1], hidden),
        partial(parts, hidden),
    )
