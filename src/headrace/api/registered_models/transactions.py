"""Registered models with all that belongs to them, read in a fixed number of statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.api.model_versions import sql as versions_sql
from headrace.api.registered_models import sql
from headrace.api.registered_models.lookup import existing
from headrace.db.base import Row, Tx

if TYPE_CHECKING:
    from headrace.search import Page


class Belongings:
    """What belongs to some models: (name, key, value), (name, alias, version), newest versions."""

    __slots__ = ("aliases", "tags", "versions")

    def __init__(
        self, tags: Sequence[Row], aliases: Sequence[Row], versions: Sequence[versions_sql.Whole]
    ) -> None:
        self.tags = tags
        self.aliases = aliases
        self.versions = versions


Found = tuple[Sequence[Row], Belongings]


async def belongings(tx: Tx, names: Sequence[str]) -> Belongings:
    """What belongs to some models: four statements for any number of models and versions."""
    return Belongings(
        await sql.tags(tx, names),
        await sql.aliases(tx, names),
        await versions_sql.latest(tx, names),
    )


async def whole(tx: Tx, name: str) -> Found:
    """One model. Raises RESOURCE_DOES_NOT_EXIST."""
    row = await existing(tx, name)
    return [row], await belongings(tx, [name])


async def search(tx: Tx, page: Page) -> tuple[Sequence[Row], Belongings, str | None]:
    """One page of models and the token of the next page."""
    rows, token = page.cut(await tx.fetch(page.sql, *page.args))
    found = await belongings(tx, [row[0] for row in rows])
    # Stock lists the stages of a searched model in alphabetical order, those of one it got by age.
    found.versions = sorted(found.versions, key=lambda one: one.row[5] or "")
    return rows, found, token
