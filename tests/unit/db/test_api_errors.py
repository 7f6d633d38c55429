"""Messages to clients about database errors: a sentence of ours without the driver's text."""

from __future__ import annotations

import sqlite3

import pytest
from asyncpg import exceptions as pg

from headrace.db import errors
from headrace.db.api_errors import api_error, sentence
from headrace.db.postgres import errors as postgres_errors
from headrace.db.sqlite import errors as sqlite

SECRETS = "host db.internal port 5432 user alice Key (name)=(hunter2) already exists"


def all_kinds(kind: type[errors.DatabaseError]) -> list[type[errors.DatabaseError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in all_kinds(child))]


@pytest.mark.parametrize("kind", all_kinds(errors.DatabaseError))
def test_no_kind_of_database_error_carries_the_drivers_text_to_clients(
    kind: type[errors.DatabaseError],
) -> None:
    error = kind(SECRETS)
    error.__cause__ = pg.UniqueViolationError(SECRETS)
    shown = api_error(error)
    assert shown.message == f"{sentence(kind(SECRETS))} (UniqueViolationError 23505)"
    for word in ("db.internal", "5432", "alice", "hunter2"):
        assert word not in str(shown.body())


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('10.0.0.7', 5432)"), 429),
        (TimeoutError("db.internal"), 429),
        (pg.InvalidPasswordError('password authentication failed for user "alice"'), 500),
        (pg.DeadlockDetectedError("Process 7 waits"), 429),
        (pg.UniqueViolationError("Key (name)=(alice) already exists"), 400),
        (pg.StringDataRightTruncationError("value too long"), 400),
        (sqlite3.OperationalError("unable to open /home/alice/m.db"), 429),
        (sqlite3.IntegrityError("NOT NULL constraint failed: runs.alice"), 400),
    ],
)
def test_a_message_names_only_the_class_of_the_drivers_exception(
    cause: BaseException, status: int
) -> None:
    translate = sqlite.translate if isinstance(cause, sqlite3.Error) else postgres_errors.translate
    error = translate(cause)  # type: ignore[arg-type]
    error.__cause__ = cause
    shown = api_error(error)
    assert shown.status == status
    assert type(cause).__name__ in shown.message
    for word in ("alice", "db.internal", "10.0.0.7", "5432", "Process"):
        assert word not in shown.message
