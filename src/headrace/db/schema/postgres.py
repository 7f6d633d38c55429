"""MLflow's tables in PostgreSQL, on one asyncpg connection."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING, Final

import asyncpg
from asyncpg import exceptions as pg

from headrace.db.schema import heads, seed
from headrace.db.schema.facts import (
    STAMP,
    Columns,
    Facts,
    UnusableDatabase,
    can_create,
    check_schema,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.connection import Connection

# "headrace": the process that creates the tables holds it.
CREATION_LOCK: Final = 0x6865_6164_7261_6365

# Relations that an unqualified name finds, without those of extensions (PostGIS has a table).
_COLUMNS: Final = """
    SELECT c.relname, a.attname,
           a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = ''
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_catalog.pg_table_is_visible(c.oid)
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                        AND d.deptype = 'e')"""


async def prepare(connection: Connection, uri: str, default_location: str) -> Facts:
    """The facts of a database that can be served; creates MLflow's tables in one without them.

    `uri`: for messages. `default_location`: artifact location of experiment 0. Raises
    UnusableDatabase. Many processes may run it at once.
    """
    async with explained(uri):
        revisions, columns = await read_tables(connection)
        if can_create(revisions, columns):
            return await _create(connection, uri, default_location)
        facts = check_schema(revisions, columns, uri)
        await _adopt(connection, facts, uri, default_location)
        return facts


async def inspect(connection: Connection, uri: str) -> Facts | None:
    """As `prepare`, but writes nothing; None when MLflow's tables can be created."""
    async with explained(uri):
        revisions, columns = await read_tables(connection)
        if can_create(revisions, columns):
            return None
        return check_schema(revisions, columns, uri)


def script() -> str:
    """The text of postgres.sql, for one execution."""
    return resources.files(__package__).joinpath("postgres.sql").read_text("utf-8")


async def read_tables(connection: Connection) -> tuple[list[str], Columns]:
    """The rows of alembic_version, and the columns of every table. Driver errors pass through."""
    columns: dict[str, dict[str, bool]] = {}
    for table, column, required in await connection.fetch(_COLUMNS):
        columns.setdefault(table, {})[column] = required
    revisions: list[str] = []
    if "version_num" in columns.get(STAMP, ()):
        revisions = [row[0] for row in await connection.fetch(f"SELECT version_num FROM {STAMP}")]
    return revisions, columns


async def _create(connection: Connection, uri: str, default_location: str) -> Facts:
    async with connection.transaction():
        # A second process waits here, and then finds the tables of the first.
        await connection.execute("SELECT pg_advisory_xact_lock($1)", CREATION_LOCK)
        revisions, columns = await read_tables(connection)
        if can_create(revisions, columns):
            if STAMP in columns:
                await connection.execute(f"DROP TABLE {STAMP}")
            await connection.execute(script())
            for sql, args in seed.new_database(default_location):
                await connection.execute(sql.postgres, *args)
            _, columns = await read_tables(connection)
            return Facts(heads.CURRENT, columns, created=True)
        facts = check_schema(revisions, columns, uri)
    await _adopt(connection, facts, uri, default_location)
    return facts


async def _adopt(connection: Connection, facts: Facts, uri: str, default_location: str) -> None:
    if seed.asks_workspace(facts):
        other = await connection.fetchval(seed.OTHER_WORKSPACE.postgres)
        if other:
            raise UnusableDatabase(seed.other_workspace_text(uri, other))
    if await connection.fetchval(seed.HAS_DEFAULT_EXPERIMENT.postgres) is None:
        sql, args = seed.default_experiment(default_location)
        await connection.execute(sql.postgres, *args)


@asynccontextmanager
async def explained(uri: str) -> AsyncIterator[None]:
    """Turn driver errors into UnusableDatabase, with texts for the user."""
    try:
        yield
    except pg.InvalidAuthorizationSpecificationError as error:
        raise UnusableDatabase(
            f"{uri}: the server rejects the user or password ({error})."
        ) from error
    except pg.InvalidCatalogNameError as error:
        raise UnusableDatabase(f"{uri}: {error}. Create it with: createdb") from error
    except pg.InsufficientPrivilegeError as error:
        raise UnusableDatabase(
            f"{uri}: the role lacks a privilege ({error}). Grant it, or use another role."
        ) from error
    except (pg.CannotConnectNowError, pg.TooManyConnectionsError) as error:
        raise UnusableDatabase(f"{uri}: {error}.", transient=True) from error
    except pg.ProtocolViolationError as error:
        # A pooler without a server yet reports this error as well.
        if "startup parameter" not in str(error):
            raise UnusableDatabase(f"{uri}: {error}.", transient=True) from error
        raise UnusableDatabase(
            f"{uri}: the pooler in front of the database rejects the connection ({error}). Remove options= "
            "from the URI and omit --postgres-pooler, or add the parameter to the pooler's "
            "ignore_startup_parameters."
        ) from error
    except (OSError, TimeoutError, pg.PostgresConnectionError) as error:
        reason = str(error) or "no answer in time"
        raise UnusableDatabase(
            f"{uri}: cannot reach the server ({reason}).", transient=True
        ) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise UnusableDatabase(f"{uri}: {error}.") from error
