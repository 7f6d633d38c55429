"""Opens the database of a URI: checks its schema, or creates MLflow's tables, then serves it.

Imports inside functions save start-up time: a process loads the code and the driver of one kind of database only.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.contract.workspaces import DEFAULT, location_in
from headrace.db import uri
from headrace.db.schema import indexes
from headrace.db.schema import sqlite as sqlite_schema
from headrace.db.sqlite import journal
from headrace.db.sqlite.connection import connect

if TYPE_CHECKING:
    from headrace.db.base import Database, Schema
    from headrace.db.schema.auth import AuthFacts
    from headrace.db.schema.facts import Facts
    from headrace.db.sqlite.direct import DirectSqlite
    from headrace.settings.table import Settings


log = logging.getLogger(__name__)
USERS_CONNECTIONS: Final = 2  # for lists, to a PostgreSQL database of users only


def default_location(settings: Settings) -> str:
    """The artifact location of experiment 0 in a new database."""
    root = settings.default_artifact_root
    if settings.enable_workspaces:
        return location_in(root, DEFAULT, 0)
    return root + "0" if root.endswith("/") else f"{root}/0"


async def open_database(settings: Settings) -> Database:
    """The database of the settings. Raises `UnusableDatabase` or `UriError` when it cannot be served."""
    target = uri.parse(settings.backend_store_uri)
    if target.dialect == "sqlite":
        return _open_sqlite(settings, target)
    return await _open_postgres(settings, target)


def is_direct(settings: Settings) -> bool:
    """Whether `open_direct` can open the database of the settings."""
    return uri.parse(settings.backend_store_uri).dialect == "sqlite"


def open_direct(settings: Settings) -> DirectSqlite:
    """The SQLite file of the settings, for use in the callers' threads. Errors as `open_database`."""
    from headrace.db.sqlite.direct import DirectSqlite

    target = uri.parse(settings.backend_store_uri)
    synchronous = settings.sqlite_synchronous.upper()
    return DirectSqlite(target.path, _prepare_sqlite(settings, target), synchronous=synchronous)


async def open_users(
    settings: Settings, users_uri: str, tracking: Database
) -> tuple[Database, AuthFacts]:
    """The database with the tables of users, which are made if it has none.

    It is `tracking` if the URI names the same database, in whatever spelling. Raises
    `UnusableDatabase` or `UriError` when it cannot be served.
    """
    target = uri.parse(users_uri)
    if target.dialect == "sqlite":
        return _open_sqlite_users(settings, target, tracking)
    return await _open_postgres_users(settings, target, tracking)


def _open_sqlite_users(
    settings: Settings, target: uri.Target, tracking: Database
) -> tuple[Database, AuthFacts]:
    path = target.path
    synchronous = settings.sqlite_synchronous.upper()
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)  # as stock MLflow does
        with closing(connect(path, read_only=False, synchronous=synchronous)) as connection:
            facts = sqlite_schema.prepare_users(connection, target.shown)
            journal.start_wal(connection, path)
    except sqlite3.Error as error:
        raise sqlite_schema.explained(error, target.shown) from error
    ours = None if settings.artifacts_only else uri.parse(settings.backend_store_uri)
    if ours is not None and ours.dialect == "sqlite" and Path(ours.path).samefile(path):
        return tracking, facts
    from headrace.db.sqlite.database import SqliteDatabase

    return SqliteDatabase(path, facts, readers=1, synchronous=synchronous), facts


async def _open_postgres_users(
    settings: Settings, target: uri.Target, tracking: Database
) -> tuple[Database, AuthFacts]:
    from headrace.db.postgres import database as postgres
    from headrace.db.postgres.connection import first_connection
    from headrace.db.schema import postgres as schema

    limit_s = postgres.STATEMENT_TIMEOUT_S
    async with (
        schema.explained(target.shown),
        first_connection(target, settings.postgres_pooler, limit_s) as (connector, connection),
    ):
        facts = await schema.prepare_users(connection, target.shown)
        theirs = await schema.identity(connection)
    ours = None if settings.artifacts_only else uri.parse(settings.backend_store_uri)
    if ours is not None and ours.dialect == "postgres":
        if ours.connect_args == target.connect_args:
            return tracking, facts
        async with (
            schema.explained(ours.shown),
            first_connection(ours, settings.postgres_pooler, limit_s) as (_, connection),
        ):
            if theirs is not None and await schema.identity(connection) == theirs:
                return tracking, facts
    return postgres.PostgresDatabase(connector, facts, pool_size=USERS_CONNECTIONS), facts


def _open_sqlite(settings: Settings, target: uri.Target) -> Database:
    from headrace.db.sqlite.database import SqliteDatabase

    return SqliteDatabase(
        target.path,
        _prepare_sqlite(settings, target),
        readers=settings.sqlite_readers,
        synchronous=settings.sqlite_synchronous.upper(),
    )


def _prepare_sqlite(settings: Settings, target: uri.Target) -> Schema:
    path = target.path
    synchronous = settings.sqlite_synchronous.upper()
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)  # as stock MLflow does
        with closing(connect(path, read_only=False, synchronous=synchronous)) as connection:
            facts = sqlite_schema.prepare(
                connection,
                target.shown,
                default_location(settings),
                workspaces=settings.enable_workspaces,
            )
            if settings.tune and indexes.missing(facts, "sqlite"):
                facts = _tune_file(connection, target, facts)
            journal.start_wal(connection, path)
    except sqlite3.Error as error:
        raise sqlite_schema.explained(error, target.shown) from error
    return facts


def _tune_file(connection: sqlite3.Connection, target: uri.Target, facts: Facts) -> Facts:
    from headrace.db.upkeep import tune_sqlite

    for line in tune_sqlite.create(connection, indexes.missing(facts, "sqlite")):
        log.info("--tune %s", line)
    return sqlite_schema.inspect(connection, target.shown) or facts


async def _open_postgres(settings: Settings, target: uri.Target) -> Database:
    from headrace.db.postgres import database as postgres
    from headrace.db.postgres.connection import first_connection
    from headrace.db.schema import postgres as schema

    async with (
        schema.explained(target.shown),
        first_connection(target, settings.postgres_pooler, postgres.STATEMENT_TIMEOUT_S) as first,
    ):
        connector, connection = first
        facts = await schema.prepare(
            connection,
            target.shown,
            default_location(settings),
            workspaces=settings.enable_workspaces,
        )
        if settings.tune and indexes.missing(facts, "postgres"):
            from headrace.db.upkeep import tune_postgres

            await tune_postgres.at_start(connector, connection, facts)
            facts = await schema.inspect(connection, target.shown) or facts
    if connector.pooler == "transaction" and settings.postgres_pooler == "auto":
        log.warning(
            "the database is behind a pooler: statements are not prepared, and each one runs in a "
            "transaction; if the pooler pools sessions, --postgres-pooler session is faster"
        )
    size = settings.postgres_connections
    primary = postgres.PostgresDatabase(connector, facts, pool_size=size)
    if settings.read_replica_backend_store_uri is None:
        return primary
    replica = uri.parse(settings.read_replica_backend_store_uri)
    if replica.connect_args == target.connect_args:
        return primary
    # Imported here to save start-up time: few servers have replicas.
    from headrace.db.postgres.replicas import ReplicatedDatabase, replicas_of

    return ReplicatedDatabase(primary, replicas_of(replica, connector, facts, size))
