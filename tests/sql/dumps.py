"""Databases of MLflow's releases, restored from the dumps in heads/ (see heads/make.py)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg

HEADS = Path(__file__).parent / "heads"


def releases(kind: str) -> list[str]:
    """The releases with a dump, oldest first. `kind`: sqlite or postgres."""
    names = [path.stem for path in (HEADS / kind).glob("*.sql")]
    assert names, f"no dumps in {HEADS / kind}"
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")])


def restore_sqlite(release: str, path: Path) -> Path:
    """An SQLite file as that release leaves a new one."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((HEADS / "sqlite" / f"{release}.sql").read_text())
    return path


def restore_postgres(release: str, uri: str) -> None:
    """Fill an empty PostgreSQL database as that release leaves a new one."""
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute((HEADS / "postgres" / f"{release}.sql").read_bytes())
