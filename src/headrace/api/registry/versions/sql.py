"""SQL for model versions, their tags, and the latest version of each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.api.pieces import ALL_ROWS, MOST_LARGE_ROWS, PAIR_BYTES, at_most, at_once, first_rows
from headrace.api.registry.models.sql import Scoped
from headrace.db import keyed
from headrace.db.base import Row, Tx
from headrace.db.sql import Bulk, statement

if TYPE_CHECKING:
    from headrace.search import Page

STAGE_DELETED: Final = "Deleted_Internal"


class VersionRow(NamedTuple):
    """A row of `model_versions`. Times are milliseconds since the epoch."""

    name: str
    version: int
    creation_time: int | None
    last_updated_time: int | None
    user_id: str | None
    current_stage: str
    description: str | None
    source: str | None
    run_id: str | None
    status: str | None
    status_message: str | None
    run_link: str | None
    storage_location: str | None

    @property
    def files(self) -> str | None:
        """The location of the version's files."""
        return self.storage_location or self.source


COLUMNS: Final = VersionRow._fields
_COLUMNS: Final = ", ".join(COLUMNS)
_V_COLUMNS: Final = ", ".join(f"v.{column}" for column in COLUMNS)

VERSION = Scoped(
    f"SELECT {_COLUMNS} FROM model_versions"
    f" WHERE workspace = {{workspace}} AND name = $1 AND version = $2 AND current_stage <> '{STAGE_DELETED}'"
)
# Tags in the physical order of the table, as stock returns them: see `api.tracking.runs.sql`.
TAGS = Scoped(
    "SELECT name, version, key, value FROM model_version_tags"
    " WHERE workspace = {workspace} AND name = $1 AND version = $2 ORDER BY {stored} LIMIT $3"
)


def _of_versions(
    select: str, table: str, rest: str = "", limit: tuple[str, str] = ("", "")
) -> Scoped:
    """A statement on the rows `t` of some versions.

    Its parameters are the names $1 and the numbers $2 on PostgreSQL, and the pairs $1 on SQLite.
    """
    return Scoped(
        postgres=f"{select} FROM unnest($1::varchar[], $2::int[]) AS u(name, version)"
        f" JOIN {table} t ON t.workspace = {{workspace}} AND t.name = u.name AND t.version = u.version"
        f"{rest}{limit[0]}",
        sqlite=f"{select} FROM json_each($1) AS u CROSS JOIN {table} t"
        " WHERE t.workspace = {workspace} AND t.name = u.value ->> 0 AND t.version = u.value ->> 1"
        f"{rest}{limit[1]}",
    )


TAGS_OF_MANY = _of_versions(
    "SELECT t.name, t.version, t.key, t.value",
    "model_version_tags",
    " ORDER BY t.{stored} LIMIT ",
    ("$3", "$2"),
)
VERSIONS = _of_versions(
    "SELECT " + ", ".join(f"t.{column}" for column in COLUMNS), "model_versions"
)
_TAG_BYTES: Final = f"{PAIR_BYTES} + {{bytes t.key}} + coalesce({{bytes t.value}}, 0)"
WEIGHTS = _of_versions(  # bytes of the tags of each version
    f"SELECT t.name, t.version, sum({_TAG_BYTES})",
    "model_version_tags",
    " GROUP BY t.name, t.version",
)
ALIASES = Scoped(
    "SELECT alias FROM registered_model_aliases"
    " WHERE workspace = {workspace} AND name = $1 AND version = $2 ORDER BY alias {bytewise} LIMIT $3"
)
# The newest version of each stage of some models; `first` is the oldest version of the stage.
# Without `join in order` SQLite starts with all rows of the workspace: 200 ms for a model with
# 50,000 versions.
LATEST = Scoped(
    f"SELECT {_V_COLUMNS}, s.first FROM (SELECT name, max(version) AS last, min(version) AS first"
    " FROM model_versions WHERE workspace = {workspace} AND name {in $1 text}"
    f" AND current_stage <> '{STAGE_DELETED}' GROUP BY name, current_stage) s"
    " {join in order} model_versions v"
    " ON v.workspace = {workspace} AND v.name = s.name AND v.version = s.last"
)
# The bytes of the tags of some models and of their newest versions.
WEIGHTS_OF_MODELS = Scoped(
    f"SELECT name, sum(bytes) FROM (SELECT t.name, {_TAG_BYTES} AS bytes FROM registered_model_tags t"
    " WHERE t.workspace = {workspace} AND t.name {in $1 text} UNION ALL"
    f" SELECT t.name, {_TAG_BYTES} AS bytes FROM (SELECT name, max(version) AS last FROM model_versions"
    f" WHERE workspace = {{workspace}} AND name {{in $1 text}} AND current_stage <> '{STAGE_DELETED}'"
    " GROUP BY name, current_stage) s {join in order} model_version_tags t"
    " ON t.workspace = {workspace} AND t.name = s.name AND t.version = s.last) AS found GROUP BY name"
)
# Numbers are never reused, not even those of deleted versions. The caller has locked the model's
# row.
INSERT = Scoped(
    "INSERT INTO model_versions (name, version, creation_time, last_updated_time, current_stage, status,"
    " source, storage_location, run_id, run_link, description{workspace column})"
    " SELECT CAST($1 AS VARCHAR), COALESCE(MAX(version), 0) + 1, CAST($2 AS BIGINT),"
    " CAST($2 AS BIGINT), 'None', 'READY', CAST($3 AS VARCHAR), CAST($4 AS VARCHAR), CAST($5 AS VARCHAR),"
    " CAST($6 AS VARCHAR), CAST($7 AS VARCHAR){workspace value}"
    " FROM model_versions WHERE workspace = {workspace} AND name = $1 RETURNING version"
)
INSERT_TAG = Bulk(
    "model_version_tags", in_workspace=True, name="text", version="int", key="text", value="text"
)
UPSERT_TAG = Scoped(
    "INSERT INTO model_version_tags (name, version, key, value{workspace column})"
    " VALUES ($1, $2, $3, $4{workspace value})"
    " ON CONFLICT (workspace, key, name, version) DO UPDATE SET value = EXCLUDED.value"
)
DELETE_TAG = Scoped(
    "DELETE FROM model_version_tags"
    " WHERE workspace = {workspace} AND name = $1 AND version = $2 AND key = $3"
)
DESCRIBE = Scoped(
    "UPDATE model_versions SET description = $3, last_updated_time = $4"
    " WHERE workspace = {workspace} AND name = $1 AND version = $2"
)
SET_STAGE = Scoped(
    "UPDATE model_versions SET current_stage = $3, last_updated_time = $4"
    " WHERE workspace = {workspace} AND name = $1 AND version = $2"
)
ARCHIVE_OTHERS = Scoped(
    "UPDATE model_versions SET current_stage = 'Archived', last_updated_time = $4"
    " WHERE workspace = {workspace} AND name = $1 AND version <> $2 AND current_stage = $3"
)
DELETE = Scoped(  # keeps the row, so that its number is not reused, and its tags
    f"UPDATE model_versions SET current_stage = '{STAGE_DELETED}', last_updated_time = $3,"
    " description = NULL, user_id = NULL, source = 'REDACTED-SOURCE-PATH', run_id = 'REDACTED-RUN-ID',"
    " run_link = 'REDACTED-RUN-LINK', status_message = NULL"
    " WHERE workspace = {workspace} AND name = $1 AND version = $2"
)


class Whole:
    """A row of `model_versions` and its tags and aliases."""

    __slots__ = ("aliases", "row", "tags")

    def __init__(self, row: VersionRow, tags: Sequence[Row], aliases: Sequence[str] = ()) -> None:
        self.row = row
        self.tags = tags
        self.aliases = aliases


_OWNER: Final = "workspace = {workspace} AND name = $1 AND version = $2"
_TAGS_OF_ONE: Final = ("model_version_tags", _OWNER, "key", "value", 2)
_ALIASES_OF_ONE: Final = ("registered_model_aliases", _OWNER, "alias", "alias", 2)
TAG_SIZES = Scoped(keyed.sizes(*_TAGS_OF_ONE))
TAGS_BY_KEY = Scoped(keyed.rows(*_TAGS_OF_ONE))
ALIAS_SIZES = Scoped(keyed.sizes(*_ALIASES_OF_ONE))
ALIASES_BY_KEY = Scoped(keyed.rows(*_ALIASES_OF_ONE))


async def whole(tx: Tx, row: VersionRow, most: int = ALL_ROWS) -> Whole:
    """A version with its tags and aliases. Raises `TooLong` for more than `most` of either."""
    tags = at_most(await tx.fetch(TAGS.of(tx), row.name, row.version, most + 1), most)
    aliases = at_most(await tx.fetch(ALIASES.of(tx), row.name, row.version, most + 1), most)
    return Whole(row, tags, [alias for (alias,) in aliases])


Key = tuple[str, int]  # name and number of a version


def _keys(tx: Tx, rows: Sequence[Row]) -> tuple[Any, ...]:
    """The keys, with which `rows` begin, as parameters of an `_of_versions` statement."""
    if tx.dialect == "sqlite":
        return (tx.array([(row[0], row[1]) for row in rows]),)
    return tx.array([row[0] for row in rows]), tx.array([row[1] for row in rows])


async def tags_of(tx: Tx, rows: Sequence[Row], most: int = ALL_ROWS) -> list[Row]:
    """(name, version, key, value) of the tags of some versions.

    Raises `TooLong` for more than `most`.
    """
    if not rows:
        return []
    return at_most(await tx.fetch(TAGS_OF_MANY.of(tx), *_keys(tx, rows), most + 1), most)


async def with_tags(tx: Tx, rows: Sequence[Row], most: int = ALL_ROWS) -> list[Whole]:
    """Versions with their tags, in the order of `rows`.

    Raises `TooLong` for more than `most` tags.
    """
    tags: dict[Key, list[Row]] = {}
    for tag in await tags_of(tx, rows, most):
        tags.setdefault((tag[0], tag[1]), []).append(tag)
    return [Whole(VersionRow(*row), tags.get((row[0], row[1]), ())) for row in rows]


async def latest(tx: Tx, names: Sequence[str], most: int = ALL_ROWS) -> list[Whole]:
    """The newest version of each stage of some models: two statements for any number of models.

    Stages are in the order of their oldest versions. Raises `TooLong` for more than `most` tags.
    """
    if not names:
        return []
    return await with_tags(tx, await latest_rows(tx, names), most)


async def latest_rows(tx: Tx, names: Sequence[str]) -> list[Row]:
    """The rows of `latest`."""
    rows = await tx.fetch(LATEST.of(tx), tx.array(names))
    # By the oldest version of the stage, then by name.
    by_age = sorted(rows, key=lambda row: (row[-1], row[0]))
    return [row[:-1] for row in by_age]


async def search(tx: Tx, page: Page) -> tuple[list[Whole], str | None]:
    """One page of versions with their tags, and the token of the next page."""
    rows, token = page.cut(await tx.fetch(statement(page.text), *page.args))
    return await with_tags(tx, rows), token


async def small_page(tx: Tx, page: Page) -> tuple[list[Whole], str | None]:
    """As `search`. Raises `TooLong` for a page that is too large to hold in memory."""
    rows, token = await first_rows(tx, page)
    keys = [(row[0], row[1]) for row in rows]
    read_tags = partial(with_tags, tx, rows)
    return await at_once(tx, weigh, keys, read_tags, MOST_LARGE_ROWS, ALL_ROWS), token


async def weigh(tx: Tx, keys: Sequence[Key]) -> Mapping[Key, int]:
    """The approximate size of each version in an answer, in bytes."""
    found = await tx.fetch(WEIGHTS.of(tx), *_keys(tx, keys))
    return {(name, version): int(size) for name, version, size in found}


async def read(tx: Tx, keys: Sequence[Key]) -> list[Whole]:
    """The existing versions in the order of `keys`, with their tags."""
    found = {(row[0], row[1]): row for row in await tx.fetch(VERSIONS.of(tx), *_keys(tx, keys))}
    return await with_tags(tx, [found[key] for key in keys if key in found])


async def weigh_models(tx: Tx, names: Sequence[str]) -> Mapping[str, int]:
    """The approximate size of each model in an answer, in bytes."""
    found = await tx.fetch(WEIGHTS_OF_MODELS.of(tx), tx.array(names))
    return {name: int(size) for name, size in found}
