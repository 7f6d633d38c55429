"""SQL for registered models, their tags and aliases.

Statements are written for the newest schema head, where every key begins with the workspace.
`Scoped` removes the column for heads that lack it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from headrace.api.pieces import ALL_ROWS, at_most
from headrace.contract.names import IS_PROMPT
from headrace.db import keyed
from headrace.db.base import Row, Schema, Tx
from headrace.db.sql import Bulk, Sql

_WORKSPACE: Final = re.compile(r"(?:\w+\.)?workspace(?: = \{workspace\} AND|,) ")


def _unscoped(text: str | None) -> str | None:
    if text is None:
        return None
    assert _WORKSPACE.search(text), "a statement that names no workspace is a plain Sql"
    return _WORKSPACE.sub("", text)


class Scoped:
    """A statement on registry tables, with and without their `workspace` column.

    The column is the first of every key. A lookup by name that omits it reads the whole table:
    4,500 us instead of 15 us with 50,000 versions on SQLite.
    """

    __slots__ = ("_plain", "_scoped")

    def __init__(
        self, text: str | None = None, *, postgres: str | None = None, sqlite: str | None = None
    ) -> None:
        self._scoped = Sql(text, postgres=postgres, sqlite=sqlite)
        self._plain = Sql(_unscoped(text), postgres=_unscoped(postgres), sqlite=_unscoped(sqlite))

    def of(self, tx: Tx) -> Sql:
        """The text for the database of `tx`."""
        return self._scoped if has_workspaces(tx.schema) else self._plain


def has_workspaces(schema: Schema) -> bool:
    """Whether the registry's tables have the column (from MLflow 3.10 on)."""
    return schema.has("registered_models", "workspace")


COLUMNS: Final = ("name", "creation_time", "last_updated_time", "description")
_COLUMNS: Final = ", ".join(COLUMNS)

MODEL = Scoped(
    f"SELECT {_COLUMNS} FROM registered_models WHERE workspace = {{workspace}} AND name = $1"
)
INSERT = Sql(
    "INSERT INTO registered_models"
    " (name, creation_time, last_updated_time, description{workspace column})"
    " VALUES ($1, $2, $2, $3{workspace value})"
)
INSERT_TAG = Bulk("registered_model_tags", in_workspace=True, name="text", key="text", value="text")
UPSERT_TAG = Scoped(
    "INSERT INTO registered_model_tags (name, key, value{workspace column}) VALUES ($1, $2, $3{workspace value})"
    " ON CONFLICT (workspace, key, name) DO UPDATE SET value = EXCLUDED.value"
)
DELETE_TAG = Scoped(
    "DELETE FROM registered_model_tags WHERE workspace = {workspace} AND name = $1 AND key = $2"
)
DESCRIBE = Scoped(
    "UPDATE registered_models SET description = $2, last_updated_time = $3"
    " WHERE workspace = {workspace} AND name = $1"
)
# Until this transaction ends, no other one changes the model or creates or deletes its versions.
LOCK = Scoped(
    "SELECT 1 FROM registered_models WHERE workspace = {workspace} AND name = $1 {for update}"
)
TOUCH = Scoped(
    "UPDATE registered_models SET last_updated_time = $2 WHERE workspace = {workspace} AND name = $1"
)
RENAME = Scoped(  # foreign keys cascade the name to versions, tags and aliases
    "UPDATE registered_models SET name = $2, last_updated_time = $3"
    " WHERE workspace = {workspace} AND name = $1"
)
RENAME_VERSIONS = Scoped(
    "UPDATE model_versions SET last_updated_time = $2 WHERE workspace = {workspace} AND name = $1"
)
DELETE_ALL = (  # children first: only the foreign key of aliases cascades
    Scoped("DELETE FROM model_version_tags WHERE workspace = {workspace} AND name = $1"),
    Scoped("DELETE FROM model_versions WHERE workspace = {workspace} AND name = $1"),
    Scoped("DELETE FROM registered_model_aliases WHERE workspace = {workspace} AND name = $1"),
    Scoped("DELETE FROM registered_model_tags WHERE workspace = {workspace} AND name = $1"),
    Scoped("DELETE FROM registered_models WHERE workspace = {workspace} AND name = $1"),
)
UPSERT_ALIAS = Scoped(
    "INSERT INTO registered_model_aliases (name, alias, version{workspace column}) VALUES ($1, $2, $3{workspace value})"
    " ON CONFLICT (workspace, name, alias) DO UPDATE SET version = EXCLUDED.version"
)
DELETE_ALIAS = Scoped(
    "DELETE FROM registered_model_aliases WHERE workspace = {workspace} AND name = $1 AND alias = $2"
)
DELETE_ALIASES_OF_VERSION = Scoped(
    "DELETE FROM registered_model_aliases WHERE workspace = {workspace} AND name = $1 AND version = $2"
)
ALIAS = Scoped(
    "SELECT version FROM registered_model_aliases"
    " WHERE workspace = {workspace} AND name = $1 AND alias = $2"
)


MODELS = Scoped(
    f"SELECT {_COLUMNS} FROM registered_models WHERE workspace = {{workspace}} AND name {{in $1 text}}"
)
# Tags in the physical order of the table, as stock returns them: see `api.tracking.runs.sql`.
TAGS = Scoped(
    "SELECT name, key, value FROM registered_model_tags"
    " WHERE workspace = {workspace} AND name {in $1 text} ORDER BY {stored by name} LIMIT $2"
)
ALIASES = Scoped(
    "SELECT name, alias, version FROM registered_model_aliases"
    " WHERE workspace = {workspace} AND name {in $1 text}"
    " ORDER BY name {bytewise}, alias {bytewise} LIMIT $2"
)


_OWNER: Final = "workspace = {workspace} AND name = $1"
_TAGS_OF_ONE: Final = ("registered_model_tags", _OWNER, "key", "value", 1)
_ALIASES_OF_ONE: Final = ("registered_model_aliases", _OWNER, "alias", "version", 1)
TAG_SIZES = Scoped(keyed.sizes(*_TAGS_OF_ONE))
TAGS_BY_KEY = Scoped(keyed.rows(*_TAGS_OF_ONE))
ALIAS_SIZES = Scoped(keyed.sizes("registered_model_aliases", _OWNER, "alias", "alias", 1))
ALIASES_BY_KEY = Scoped(keyed.rows(*_ALIASES_OF_ONE))


async def tags(tx: Tx, names: Sequence[str], most: int = ALL_ROWS) -> list[Row]:
    """(name, key, value) of the tags of some models. Raises `TooLong` for more than `most` tags."""
    return at_most(await tx.fetch(TAGS.of(tx), tx.array(names), most + 1), most)


async def prompt_tag(tx: Tx, name: str) -> dict[str, str]:
    """The tag that makes a model a prompt, if the model has it."""
    rows = await tx.fetch(TAGS_BY_KEY.of(tx), name, tx.array([IS_PROMPT]))
    return {key: value or "" for key, value in rows}


async def aliases(tx: Tx, names: Sequence[str], most: int = ALL_ROWS) -> list[Row]:
    """(name, alias, version) of the aliases of some models.

    Raises `TooLong` for more than `most`.
    """
    return at_most(await tx.fetch(ALIASES.of(tx), tx.array(names), most + 1), most)


async def insert(
    tx: Tx, name: str, now_ms: int, description: str | None, new_tags: Sequence[tuple[str, str]]
) -> None:
    """Insert a model and its tags."""
    await tx.execute(INSERT, name, now_ms, description)
    if new_tags:
        await tx.executemany(INSERT_TAG, [(name, key, value) for key, value in new_tags])


async def delete(tx: Tx, name: str) -> int:
    """Delete a model and everything that belongs to it. Return the number of deleted models."""
    deleted = 0
    for statement in DELETE_ALL:
        deleted = await tx.execute(statement.of(tx), name)
    return deleted
