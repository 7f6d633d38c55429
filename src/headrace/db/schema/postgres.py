"""MLflow's tables in PostgreSQL, on one asyncpg connection."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING, Final

import asyncpg
from asyncpg import exceptions as pg

from headrace.db.schema import auth, heads, indexes, seed
from headrace.db.schema.auth import AuthFacts
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

# Relations that an unqualified name finds, without those of extensions (PostGIS has a table), and
# headrace's own indexes (db/schema/indexes.py).
_COLUMNS: Final = r"""
    SELECT c.relname, a.attname,
           a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = ''
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE (c.relkind IN ('r', 'p', 'v', 'm', 'f') OR c.relkind = 'i' AND c.relname LIKE 'headrace\_%'
        AND EXISTS (SELECT FROM pg_catalog.pg_index AS x WHERE x.indexrelid = c.oid AND x.indisvalid))
      AND pg_catalog.pg_table_is_visible(c.oid)
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                        AND d.deptype = 'e')"""

_IDENTITY: Final = """
    SELECT system_identifier::text, pg_postmaster_start_time()::text, current_database(),
           current_schemas(false)::text, current_user::text FROM pg_control_system()"""


async def prepare(
    connection: Connection, uri: str, default_location: str, *, workspaces: bool = False
) -> Facts:
    """The facts of a database that can be served; creates MLflow's tables in one without them.

    `uri`: for messages. `default_location`: artifact location of experiment 0.
    `workspaces`: the server has them. Raises UnusableDatabase. Many processes may run it at once.
    """
    async with explained(uri):
        revisions, columns = await read_tables(connection)
        if can_create(revisions, columns):
            return await _create(connection, uri, default_location, workspaces=workspaces)
        facts = check_schema(revisions, columns, uri)
        await _adopt(connection, facts, uri, default_location, workspaces=workspaces)
        return facts


async def inspect(connection: Connection, uri: str) -> Facts | None:
    """As `prepare`, but writes nothing; None when MLflow's tables can be created."""
    async with explained(uri):
        revisions, columns = await read_tables(connection)
        if can_create(revisions, columns):
            return None
        return check_schema(revisions, columns, uri)


async def prepare_users(connection: Connection, uri: str) -> AuthFacts:
    """As `prepare`, for the tables of users, which other tables do not concern."""
    async with explained(uri):
        revisions, columns = await read_tables(connection, auth.STAMP)
        if not auth.can_create(revisions, columns):
            return auth.check_schema(revisions, columns, uri)
        async with connection.transaction():
            # A second process waits here, and then finds the tables of the first.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", CREATION_LOCK)
            revisions, columns = await read_tables(connection, auth.STAMP)
            if not auth.can_create(revisions, columns):
                return auth.check_schema(revisions, columns, uri)
            if auth.STAMP in columns:
                await connection.execute(f"DROP TABLE {auth.STAMP}")
            await connection.execute(script("auth_postgres.sql"))
            await connection.execute(auth.STAMP_HEAD.postgres)
            _, columns = await read_tables(connection, auth.STAMP)
        return AuthFacts(auth.HEAD, columns, created=True)


async def inspect_users(connection: Connection, uri: str) -> AuthFacts | None:
    """As `prepare_users`, but writes nothing; None when the tables can be created."""
    async with explained(uri):
        revisions, columns = await read_tables(connection, auth.STAMP)
        if auth.can_create(revisions, columns):
            return None
        return auth.check_schema(revisions, columns, uri)


async def identity(connection: Connection) -> tuple[object, ...] | None:
    """The server, database, schemas and user of a connection; None if the engine does not tell.

    Two connections with equal identities read and write the same tables.
    """
    try:
        return tuple(await connection.fetchrow(_IDENTITY))
    except (asyncpg.PostgresError, asyncpg.InterfaceError):
        return None


def script(file: str = "postgres.sql") -> str:
    """The text of a file of this folder, for one execution."""
    return resources.files(__package__).joinpath(file).read_text("utf-8")


async def read_tables(connection: Connection, stamp: str = STAMP) -> tuple[list[str], Columns]:
    """The rows of `stamp`, Alembic's table, and the columns of every table and of headrace's indexes.

    Driver errors pass through.
    """
    columns: dict[str, dict[str, bool]] = {}
    for table, column, required in await connection.fetch(_COLUMNS):
        columns.setdefault(table, {})[column] = required
    revisions: list[str] = []
    if "version_num" in columns.get(stamp, ()):
        revisions = [row[0] for row in await connection.fetch(f"SELECT version_num FROM {stamp}")]
    return revisions, columns


async def _create(
    connection: Connection, uri: str, default_location: str, *, workspaces: bool
) -> Facts:
    async with connection.transaction():
        # A second process waits here, and then finds the tables of the first.
        await connection.execute("SELECT pg_advisory_xact_lock($1)", CREATION_LOCK)
        revisions, columns = await read_tables(connection)
        if can_create(revisions, columns):
            if STAMP in columns:
                await connection.execute(f"DROP TABLE {STAMP}")
            await connection.execute(script())
            for statement in indexes.of_new_databases("postgres"):
                await connection.execute(statement)
            for sql, args in seed.new_database(default_location):
                await connection.execute(sql.postgres, *args)
            _, columns = await read_tables(connection)
            return Facts(heads.CURRENT, columns, created=True)
        facts = check_schema(revisions, columns, uri)
    await _adopt(connection, facts, uri, default_location, workspaces=workspaces)
    return facts


async def _adopt(
    connection: Connection, facts: Facts, uri: str, default_location: str, *, workspaces: bool
) -> None:
    if workspaces:
        seed.check_workspaces(facts, uri)
    else:
        for table, sql in seed.of_other_workspaces(facts):
            if other := await connection.fetchval(sql.postgres):
                raise UnusableDatabase(seed.other_workspace_text(uri, table, other))
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
        raise UnusableDatabase(f"{uri}: {error}. Create it with: createdb NAME") from error
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
    except pg.TargetServerAttributeNotMatched as error:  # during a failover there is no primary
        raise UnusableDatabase(
            f"{uri}: none of the hosts is what target_session_attrs asks for (with several hosts, the "
            "default is read-write).",
            transient=True,
        ) from error
    except (OSError, TimeoutError, pg.PostgresConnectionError) as error:
        reason = str(error) or "no answer in time"
        raise UnusableDatabase(
            f"{uri}: cannot reach the server ({reason}).", transient=True
        ) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise UnusableDatabase(f"{uri}: {error}.") from error
