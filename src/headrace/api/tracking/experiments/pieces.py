"""Experiments in pieces: pages of many experiments, and experiments too large for one read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from headrace.api.nouns import Tag
from headrace.api.pieces import Listing, Many, in_pieces
from headrace.api.tracking.experiments import sql
from headrace.api.tracking.experiments.types import Experiment
from headrace.api.tracking.experiments.view import experiment, experiments
from headrace.db.base import Database, Row
from headrace.db.sql import Sql

LISTS: Final = (
    Many(
        b"tags",
        lambda _: sql.TAG_SIZES,
        lambda _: sql.TAGS_BY_KEY,
        lambda row: Tag(key=row[0], value=row[1] or ""),
    ),
)


async def parts_by(
    db: Database, statement: Sql, key: object, workspace: str
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of the experiment that a statement (BY_ID, BY_NAME) finds; nothing if none."""
    row = await db.read(sql.row_of, statement, key)
    if row is None:
        return
    async with aclosing(in_pieces(db, experiment(row, (), workspace), (row[0],), LISTS)) as found:
        async for part in found:
            yield part


def listing(workspace: str) -> Listing[int]:
    """The functions that read the experiments of a workspace."""

    def parts(db: Database, number: int) -> AsyncGenerator[bytes, None]:
        return parts_by(db, sql.BY_ID, number, workspace)

    def shown(found: tuple[Sequence[Row], Sequence[Row]]) -> list[Experiment]:
        return experiments(*found, workspace)

    return Listing(b"experiments", sql.weigh, sql.read, shown, parts)
