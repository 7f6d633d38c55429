"""Reads registered models with their tags, aliases and versions in a fixed number of statements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from headrace.api.pieces import ALL_ROWS, MOST_LARGE_ROWS, at_once, first_rows
from headrace.api.registry.models import sql
from headrace.api.registry.models.lookup import existing, is_prompt, model_not_found
from headrace.api.registry.versions import sql as versions_sql
from headrace.auth.access import Access
from headrace.contract.clock import now_ms
from headrace.db.base import Row, Tx
from headrace.db.sql import statement

if TYPE_CHECKING:
    from headrace.search import Page


class NewModel(NamedTuple):
    """A model to be created."""

    name: str
    description: str | None
    tags: dict[str, str]


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


async def create(tx: Tx, access: Access, new: NewModel, created_ms: int) -> None:
    """Insert a model or prompt that the caller manages."""
    await sql.insert(tx, new.name, created_ms, new.description, list(new.tags.items()))
    await access.created(tx, "prompt" if is_prompt(new.tags) else "registered_model", new.name)


async def undo_create(tx: Tx, name: str, created_ms: int) -> bool:
    """Delete a model that was created at that time. False if it has been changed since."""
    await tx.fetchrow(sql.LOCK.of(tx), name)
    row = await tx.fetchrow(sql.MODEL.of(tx), name)
    if row is None or (row[1], row[2]) != (created_ms, created_ms):
        return False
    await sql.delete(tx, name)
    return True


async def delete(tx: Tx, access: Access, name: str) -> None:
    """Delete a model and the users' own grants on it. Raises RESOURCE_DOES_NOT_EXIST."""
    if not await sql.delete(tx, name):
        raise model_not_found(name)
    await access.deleted(tx, "registered_model", name)


async def rename(tx: Tx, access: Access, name: str, new_name: str) -> Found:
    """Rename a model in the users' own grants too. Raises RESOURCE_DOES_NOT_EXIST."""
    now = now_ms()
    if not await tx.execute(sql.RENAME.of(tx), name, new_name, now):
        raise model_not_found(name)
    await tx.execute(sql.RENAME_VERSIONS.of(tx), new_name, now)
    await access.renamed(tx, "registered_model", name, new_name)
    return await whole(tx, new_name)


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
