"""Reads registered models with their tags, aliases and versions in a fixed number of statements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from headrace.api.pieces import ALL_ROWS, MOST_LARGE_ROWS, at_once, first_rows
from headrace.api.registry.models import sql
from headrace.api.registry.models.lookup import existing
from headrace.api.registry.versions import sql as versions_sql
from headrace.db.base import Row, Tx
from headrace.db.sql import statement

if TYPE_CHECKING:
    from headrace.search import Page


class Belongings:
    """The tags, aliases and newest versions of some models.

    Rows of tags are (name, key, value), those of aliases (name, alias, version).
    """

    __slots__ = ("aliases", "tags", "versions")

    def __init__(
        self, tags: Sequence[Row], aliases: Sequence[Row], versions: Sequence[versions_sql.Whole]
    ) -> None:
        self.tags = tags
        self.aliases = aliases
        self.versions = versions


Found = tuple[Sequence[Row], Belongings]


async def belongings(tx: Tx, names: Sequence[str], most: int = ALL_ROWS) -> Belongings:
    """The `Belongings` of some models: four statements for any number of models and versions.

    Raises `TooLong` for more than `most` rows of one kind.
    """
    return Belongings(
        await sql.tags(tx, names, most),
        await sql.aliases(tx, names, most),
        await versions_sql.latest(tx, names, most),
    )


async def whole(tx: Tx, name: str, most: int = ALL_ROWS) -> Found:
    """One model.

    Raises RESOURCE_DOES_NOT_EXIST, and `TooLong` for more than `most` rows of one kind.
    """
    row = await existing(tx, name)
    return [row], await belongings(tx, [name], most)


async def newest(tx: Tx, name: str) -> list[Row]:
    """The newest version of each stage of a model, as rows."""
    return await versions_sql.latest_rows(tx, [name])


async def search(tx: Tx, page: Page) -> tuple[Sequence[Row], Belongings, str | None]:
    """One page of models and the token of the next page."""
    rows, token = page.cut(await tx.fetch(statement(page.text), *page.args))
    return rows, await _searched(tx, [row[0] for row in rows], ALL_ROWS), token


async def _searched(tx: Tx, names: Sequence[str], most: int) -> Belongings:
    found = await belongings(tx, names, most)
    # Stock's search orders the stages of a model by name; its get orders them by age.
    found.versions = sorted(found.versions, key=lambda one: one.row.current_stage or "")
    return found


async def small_page(tx: Tx, page: Page) -> tuple[Sequence[Row], Belongings, str | None]:
    """As `search`. Raises `TooLong` for a page that is too large to hold in memory."""
    rows, token = await first_rows(tx, page)
    names = [row[0] for row in rows]
    weigh, read_all = versions_sql.weigh_models, partial(_searched, tx, names)
    return rows, await at_once(tx, weigh, names, read_all, MOST_LARGE_ROWS, ALL_ROWS), token


async def read(tx: Tx, names: Sequence[str]) -> Found:
    """The existing models in the order of `names`, and their `Belongings`."""
    found = {row[0]: row for row in await tx.fetch(sql.MODELS.of(tx), tx.array(names))}
    rows = [found[name] for name in names if name in found]
    return rows, await _searched(tx, [row[0] for row in rows], ALL_ROWS)
