"""SQL for model versions, their tags, and the latest version of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.api.registered_models.sql import Scoped
from headrace.db.base import Row, Sql, Tx

if TYPE_CHECKING:
    from headrace.search import Page

STAGE_DELETED: Final = "Deleted_Internal"
COLUMNS: Final = (
    "name",
    "version",
    "creation_time",
    "last_updated_time",
    "user_id",
    "current_stage",
    "description",
    "source",
    "run_id",
    "status",
    "status_message",
    "run_link",
    "storage_location",
)
_COLUMNS: Final = ", ".join(COLUMNS)
_V_COLUMNS: Final = ", ".join(f"v.{column}" for column in COLUMNS)

VERSION = Scoped(
    f"SELECT {_COLUMNS} FROM model_versions"
    f" WHERE workspace = 'default' AND name = $1 AND version = $2 AND current_stage <> '{STAGE_DELETED}'"
)
TAGS = Scoped(
    "SELECT name, version, key, value FROM model_version_tags"
    " WHERE workspace = 'default' AND name = $1 AND version = $2"
)
TAGS_OF_MANY = Scoped(  # $1, $2 names and versions on PostgreSQL; $1 pairs on SQLite
    postgres="SELECT t.name, t.version, t.key, t.value"
    " FROM unnest($1::varchar[], $2::int[]) AS u(name, version)"
    " JOIN model_version_tags t ON t.workspace = 'default' AND t.name = u.name AND t.version = u.version",
    sqlite="SELECT t.name, t.version, t.key, t.value FROM json_each($1) AS u CROSS JOIN model_version_tags t"
    " WHERE t.workspace = 'default' AND t.name = u.value ->> 0 AND t.version = u.value ->> 1",
)
ALIASES = Scoped(
    "SELECT alias FROM registered_model_aliases"
    " WHERE workspace = 'default' AND name = $1 AND version = $2"
)
# The newest version of each stage of some models; `first` is the oldest version of the stage.
# CROSS JOIN keeps SQLite from starting with all rows of the workspace (200 ms a model of 50,000 versions).
LATEST = Scoped(
    postgres=f"SELECT {_V_COLUMNS}, s.first FROM (SELECT name, max(version) AS last, min(version) AS first"
    " FROM model_versions WHERE workspace = 'default' AND name = ANY($1::varchar[])"
    f" AND current_stage <> '{STAGE_DELETED}' GROUP BY name, current_stage) s"
    " JOIN model_versions v ON v.workspace = 'default' AND v.name = s.name AND v.version = s.last",
    sqlite=f"SELECT {_V_COLUMNS}, s.first FROM (SELECT name, max(version) AS last, min(version) AS first"
    " FROM model_versions WHERE workspace = 'default' AND name IN (SELECT value FROM json_each($1))"
    f" AND current_stage <> '{STAGE_DELETED}' GROUP BY name, current_stage) s CROSS JOIN model_versions v"
    " WHERE v.workspace = 'default' AND v.name = s.name AND v.version = s.last",
)
# Numbers are never used again, not even those of deleted versions. The caller holds the model's row.
INSERT = Scoped(
    "INSERT INTO model_versions (name, version, creation_time, last_updated_time, current_stage, status,"
    " source, storage_location, run_id, run_link, description)"
    " SELECT CAST($1 AS VARCHAR), COALESCE(MAX(version), 0) + 1, CAST($2 AS BIGINT),"
    " CAST($2 AS BIGINT), 'None', 'READY', CAST($3 AS VARCHAR), CAST($4 AS VARCHAR), CAST($5 AS VARCHAR),"
    " CAST($6 AS VARCHAR), CAST($7 AS VARCHAR)"
    " FROM model_versions WHERE workspace = 'default' AND name = $1 RETURNING version"
)
INSERT_TAG = Sql(
    "INSERT INTO model_version_tags (name, version, key, value) VALUES ($1, $2, $3, $4)"
)
UPSERT_TAG = Scoped(
    "INSERT INTO model_version_tags (name, version, key, value) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (workspace, key, name, version) DO UPDATE SET value = EXCLUDED.value"
)
DELETE_TAG = Scoped(
    "DELETE FROM model_version_tags"
    " WHERE workspace = 'default' AND name = $1 AND version = $2 AND key = $3"
)
DESCRIBE = Scoped(
    "UPDATE model_versions SET description = $3, last_updated_time = $4"
    " WHERE workspace = 'default' AND name = $1 AND version = $2"
)
SET_STAGE = Scoped(
    "UPDATE model_versions SET current_stage = $3, last_updated_time = $4"
    " WHERE workspace = 'default' AND name = $1 AND version = $2"
)
ARCHIVE_OTHERS = Scoped(
    "UPDATE model_versions SET current_stage = 'Archived', last_updated_time = $4"
    " WHERE workspace = 'default' AND name = $1 AND version <> $2 AND current_stage = $3"
)
DELETE = Scoped(  # the row stays, so that its number is not used again; its tags stay too
    f"UPDATE model_versions SET current_stage = '{STAGE_DELETED}', last_updated_time = $3,"
    " description = NULL, user_id = NULL, source = 'REDACTED-SOURCE-PATH', run_id = 'REDACTED-RUN-ID',"
    " run_link = 'REDACTED-RUN-LINK', status_message = NULL"
    " WHERE workspace = 'default' AND name = $1 AND version = $2"
)


class Whole:
    """A row of `model_versions` and the tags and aliases that go with it."""

    __slots__ = ("aliases", "row", "tags")

    def __init__(self, row: Row, tags: Sequence[Row], aliases: Sequence[str] = ()) -> None:
        self.row = row
        self.tags = tags
        self.aliases = aliases


async def whole(tx: Tx, row: Row) -> Whole:
    """A version with its tags and aliases."""
    name, version = row[0], row[1]
    tags = await tx.fetch(TAGS.of(tx), name, version)
    aliases = await tx.fetch(ALIASES.of(tx), name, version)
    return Whole(row, tags, [alias for (alias,) in aliases])


async def tags_of(tx: Tx, rows: Sequence[Row]) -> list[Row]:
    """(name, version, key, value) of the tags of some versions."""
    if not rows:
        return []
    keys: tuple[Any, ...]
    if tx.dialect == "sqlite":
        keys = (tx.array([(row[0], row[1]) for row in rows]),)
    else:
        keys = (tx.array([row[0] for row in rows]), tx.array([row[1] for row in rows]))
    return await tx.fetch(TAGS_OF_MANY.of(tx), *keys)


async def with_tags(tx: Tx, rows: Sequence[Row]) -> list[Whole]:
    """Versions with their tags, in the order of `rows`."""
    tags: dict[tuple[str, int], list[Row]] = {}
    for tag in await tags_of(tx, rows):
        tags.setdefault((tag[0], tag[1]), []).append(tag)
    return [Whole(row, tags.get((row[0], row[1]), ())) for row in rows]


async def latest(tx: Tx, names: Sequence[str]) -> list[Whole]:
    """The newest version of each stage that versions of the models are in: two statements for any number.

    Stages come in the order in which the oldest of their versions were made.
    """
    if not names:
        return []
    rows = await tx.fetch(LATEST.of(tx), tx.array(names))
    return await with_tags(tx, sorted(rows, key=lambda row: row[-1]))


async def search(tx: Tx, page: Page) -> tuple[list[Whole], str | None]:
    """One page of versions with their tags, and the token of the next page."""
    rows, token = page.cut(await tx.fetch(page.sql, *page.args))
    return await with_tags(tx, rows), token
