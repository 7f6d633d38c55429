"""Writes the schemas of MLflow's releases beside this file: `python tests/sql/heads/make.py [RELEASE …]`.

Each release is installed into a throw-away environment and opens an empty database. The result is
dumped as SQL (`sqlite/RELEASE.sql`, and `postgres/RELEASE.sql` for those named in POSTGRES).
Takes a minute per release and the network; the tests only read what is committed.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import venv
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[2] / "src")]

from tests.fix_postgres import PostgresServer, fresh_database  # noqa: E402 after the path to it

# The last release of each schema head.
# fmt: off
RELEASES = (
    "2.9.2", "2.13.2", "2.16.2", "2.22.5", "3.1.4", "3.2.0", "3.3.2", "3.4.0", "3.7.0",
    "3.8.1", "3.9.0", "3.10.1", "3.11.1", "3.12.0", "3.13.0", "3.14.0", "3.15.2", "3.16.1",
    "3.17.2", "3.18.0",
)
# fmt: on
POSTGRES = ("2.9.2", "2.22.5", "3.4.0", "3.10.1", "3.17.2", "3.18.0")
# Releases up to 3.16 were made for SQLAlchemy 2.0.
PACKAGES = ("alembic", "sqlalchemy<2.1", "setuptools<80", "psycopg2-binary")
OPEN = """
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore(sys.argv[1], "mlflow-artifacts:/")
"""


def environment(release: str, root: Path) -> Path:
    """The Python of a new environment that holds one release."""
    venv.create(root, with_pip=True)
    python = root / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", f"mlflow-skinny=={release}", *PACKAGES], check=True
    )
    return python


def open_with(python: Path, uri: str) -> None:
    """Let the release create its tables."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    subprocess.run([python, "-c", OPEN, uri], check=True, env={**os.environ, **quiet})


def tidy(text: str) -> str:
    """Times made 0, no trailing blanks. (Stock writes constraints and indexes in any order.)"""
    text = re.sub(r"'active',\s*\d{13},\s*\d{13}", "'active',0,0", text)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def sqlite_dump(path: Path) -> str:
    """The whole database as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return tidy("\n".join(connection.iterdump()) + "\n")


def postgres_dump(server: PostgresServer, uri: str) -> str:
    """The whole database as SQL, without what pg_dump says about itself and its session."""
    dump = subprocess.run(
        [server.bin / "pg_dump", "--no-owner", "--no-privileges", "--inserts", uri],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    dump = re.sub(
        r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\.*)?\n", "", dump, flags=re.MULTILINE
    )
    return tidy(dump.replace("public.", ""))


def make(release: str, server: PostgresServer) -> None:
    """Write the dumps of one release."""
    root = Path(tempfile.mkdtemp(prefix=f"mlflow-{release}-"))
    try:
        python = environment(release, root / "env")
        open_with(python, f"sqlite:///{root / 'x.db'}")
        (HERE / "sqlite" / f"{release}.sql").write_text(sqlite_dump(root / "x.db"))
        if release in POSTGRES:
            with fresh_database(server.uri) as uri:
                open_with(python, uri.replace("postgresql:", "postgresql+psycopg2:"))
                (HERE / "postgres" / f"{release}.sql").write_text(postgres_dump(server, uri))
    finally:
        shutil.rmtree(root)


def main(releases: list[str]) -> None:
    """Write the dumps of the releases named, or of all."""
    for name in ("sqlite", "postgres"):
        (HERE / name).mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    server = PostgresServer(root)
    try:
        for release in releases or RELEASES:
            make(release, server)
            sys.stderr.write(f"{release}\n")
    finally:
        server.stop()
        shutil.rmtree(root)


if __name__ == "__main__":
    main(sys.argv[1:])
