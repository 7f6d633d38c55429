"""Workspaces in the database of a test."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg


def make(uri: str, *names: str) -> None:
    """Write workspaces into a database, whose tables exist."""
    rows = [(name,) for name in names]
    if uri.startswith("sqlite:///"):
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection, connection:
            connection.executemany("INSERT INTO workspaces (name) VALUES (?)", rows)
    else:
        with psycopg.connect(uri) as postgres:
            postgres.cursor().executemany("INSERT INTO workspaces (name) VALUES (%s)", rows)
