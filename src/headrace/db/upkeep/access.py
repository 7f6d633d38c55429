"""Opens a database for a command without changing it: no table is created, WAL is not switched on.

Imports inside functions save start-up time: a command loads the code of one kind of database only.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.db import uri
from headrace.db.schema.facts import UnusableDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.db.base import Database
    from headrace.db.schema.auth import AuthFacts
    from headrace.db.schema.facts import Facts

STATEMENT_TIMEOUT_S: Final = 600.0


@asynccontextmanager
async def opened(database_uri: str) -> AsyncIterator[Database]:
    """A database that has MLflow's tables. Raises UriError, UnusableDatabase."""
    target = uri.parse(database_uri)
    db = await (_sqlite(target) if target.dialect == "sqlite" else _postgres(target))
    try:
        yield db
    finally:
        await db.close()


@asynccontextmanager
async def opened_users(database_uri: str) -> AsyncIterator[tuple[Database, AuthFacts]]:
    """A database that has the tables of users. Raises UriError, UnusableDatabase."""
    target = uri.parse(database_uri)
    facts = await inspect_users(target)
    if facts is None:
        raise UnusableDatabase(
            f"{target.shown} has no tables of users yet. The server makes them when it starts with "
            "--app-name basic-auth; a relative file is looked for in the working directory."
        )
    db: Database
    if target.dialect == "sqlite":
        from headrace.db.sqlite.database import SqliteDatabase

        db = SqliteDatabase(target.path, facts, readers=1, synchronous="FULL")
    else:
        from headrace.db.postgres import database as postgres
        from headrace.db.postgres.connection import first_connection
        from headrace.db.schema.postgres import explained

        async with explained(target.shown), first_connection(target) as (connector, _):
            db = postgres.PostgresDatabase(connector, facts, pool_size=1)
    try:
        yield db, facts
    finally:
        await db.close()


async def inspect_users(target: uri.Target) -> AuthFacts | None:
    """The facts about the tables of users; None without them. Raises UnusableDatabase."""
    if target.dialect == "sqlite":
        from headrace.db.schema import sqlite as schema
        from headrace.db.sqlite.connection import connect

        if not Path(target.path).exists():
            return None
        try:
            with closing(connect(target.path, read_only=True, synchronous="FULL")) as file:
                return schema.inspect_users(file, target.shown)
        except sqlite3.Error as error:
            raise schema.explained(error, target.shown) from error
    from headrace.db.postgres.connection import first_connection
    from headrace.db.schema import postgres

    async with postgres.explained(target.shown), first_connection(target) as (_, connection):
        return await postgres.inspect_users(connection, target.shown)


def file_of(database_uri: str, command: str) -> Path:
    """The SQLite file of a URI, which need not exist. Raises UriError for another database."""
    target = uri.parse(database_uri)
    if target.dialect != "sqlite":
        raise uri.UriError(
            f"{target.shown} is not a SQLite file; `headrace {command}` supports only those. For "
            "PostgreSQL use pg_dump and pg_restore."
        )
    return Path(target.path)


async def _sqlite(target: uri.Target) -> Database:
    from headrace.db.schema import sqlite as schema
    from headrace.db.sqlite.connection import connect
    from headrace.db.sqlite.database import SqliteDatabase

    if not Path(target.path).exists():
        raise UnusableDatabase(f"{target.shown}: the file {target.path} does not exist.")
    try:
        with closing(connect(target.path, read_only=True, synchronous="FULL")) as connection:
            facts = _filled(schema.inspect(connection, target.shown), target)
    except sqlite3.Error as error:
        raise schema.explained(error, target.shown) from error
    return SqliteDatabase(
        target.path, facts, readers=1, synchronous="FULL", read_limit_s=STATEMENT_TIMEOUT_S
    )


async def _postgres(target: uri.Target) -> Database:
    from headrace.db.postgres import database as postgres
    from headrace.db.postgres.connection import first_connection
    from headrace.db.schema import postgres as schema

    async with (
        schema.explained(target.shown),
        first_connection(target, statement_timeout_s=STATEMENT_TIMEOUT_S) as (
            connector,
            connection,
        ),
    ):
        facts = _filled(await schema.inspect(connection, target.shown), target)
    return postgres.PostgresDatabase(connector, facts, pool_size=1)


def _filled(facts: Facts | None, target: uri.Target) -> Facts:
    if facts is None:
        raise UnusableDatabase(f"{target.shown} has none of MLflow's tables.")
    return facts
