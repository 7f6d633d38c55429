"""New databases for the servers: PostgreSQL and SQLite with the same methods."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Protocol

from benchmarks import postgres
from benchmarks.seeds import Dialect, Seed, statements

if TYPE_CHECKING:
    from pathlib import Path

# Skip the foreign-key check of each of the millions of rows, if the role is a superuser.
_NO_FOREIGN_KEYS: Final = """
DO $$ BEGIN SET session_replication_role = replica;
EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"""


class Databases(Protocol):
    """`pid` is the root of the database server's process tree, or None if there is no server."""

    kind: str
    pid: int | None
    version: str

    def create(self, name: str, template: str | None = None) -> str:
        """Create a database, empty or a copy of `template`, and return its URI for servers."""

    def drop(self, name: str) -> None: ...

    def run(self, uri: str, *texts: str) -> list[list[Any]]:
        """Run statements and return the rows of each."""

    def write(self, uri: str, texts: list[str]) -> None:
        """Run statements that change something."""

    def fill(self, uri: str, texts: list[str]) -> None:
        """Run statements that write many rows."""

    def seed(self, uri: str, seeds: frozenset[Seed], *, fasttrackml: bool) -> None: ...


class PostgresDatabases:
    kind = "postgresql"

    def __init__(self, cluster: postgres.PostgresCluster, prefix: str) -> None:
        self._cluster = cluster
        self._prefix = prefix
        self._made: set[str] = set()
        self.pid = cluster.pid
        self.version = f"PostgreSQL {cluster.version}, fsync {cluster.fsync}"

    def _name(self, name: str) -> str:
        return f"{self._prefix}_{name}".replace("-", "_")

    def create(self, name: str, template: str | None = None) -> str:
        self._made.add(name)
        base = self._name(template) if template else "template0"
        uri = self._cluster.create(self._name(name), base)
        postgres.run_sql(uri, "CHECKPOINT")
        return uri

    def drop(self, name: str) -> None:
        self._made.discard(name)
        self._cluster.drop(self._name(name))

    def drop_all(self) -> None:
        """Drop the databases in a given server; a private server is removed completely."""
        if self._cluster.is_private:
            return
        for name in sorted(self._made):
            self.drop(name)

    def run(self, uri: str, *texts: str) -> list[list[Any]]:
        return postgres.run_sql(uri, *texts)

    def write(self, uri: str, texts: list[str]) -> None:
        postgres.run_sql(uri, *texts)

    def fill(self, uri: str, texts: list[str]) -> None:
        """Write, then VACUUM ANALYZE, before autovacuum does so during a measurement."""
        self.write(uri, [_NO_FOREIGN_KEYS, *texts])
        postgres.run_sql(uri, "VACUUM ANALYZE", "CHECKPOINT")

    def seed(self, uri: str, seeds: frozenset[Seed], *, fasttrackml: bool) -> None:
        self.fill(uri, statements(seeds, Dialect(postgres=True, fasttrackml=fasttrackml)))


class SqliteDatabases:
    kind = "sqlite"
    pid: int | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.version = f"SQLite {sqlite3.sqlite_version} (of the runner)"

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.db"

    def create(self, name: str, template: str | None = None) -> str:
        self.drop(name)
        if template is not None:
            shutil.copyfile(self._path(template), self._path(name))
        return f"sqlite:///{self._path(name)}"

    def drop(self, name: str) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            self._path(name).with_name(f"{name}.db{suffix}").unlink(missing_ok=True)

    def run(self, uri: str, *texts: str) -> list[list[Any]]:
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=60)) as connection:
            return [connection.execute(text).fetchall() for text in texts]

    def write(self, uri: str, texts: list[str]) -> None:
        path = uri.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            for text in texts:
                connection.execute(text)
            connection.execute("COMMIT")
            # Checkpoint, so that a copy of the file is a copy of the database.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def fill(self, uri: str, texts: list[str]) -> None:
        """Write, without ANALYZE: no server runs it, and it would change their plans."""
        self.write(uri, texts)

    def seed(self, uri: str, seeds: frozenset[Seed], *, fasttrackml: bool) -> None:
        self.fill(uri, statements(seeds, Dialect(postgres=False, fasttrackml=fasttrackml)))
