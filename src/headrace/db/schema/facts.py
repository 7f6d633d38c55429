"""The schema facts of a database, and the decision whether it can be served."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

from headrace.db.schema import heads, used
from headrace.error import Error

STAMP: Final = "alembic_version"
MLFLOW_TABLES: Final = frozenset(used.USED) - {STAMP}
_CREATE: Final = re.compile(r'^CREATE TABLE "?(\w+)', re.MULTILINE)
# Columns per table; True: an INSERT must name the column (NOT NULL without a default).
Columns = Mapping[str, Mapping[str, bool]]


class UnusableDatabase(Error):
    """This database cannot be served. The text is for the user and names the command to run.

    `transient`: a retry may succeed (the server is starting, the file is locked).
    """

    def __init__(self, text: str, *, transient: bool = False) -> None:
        super().__init__(text)
        self.transient = transient


class TableFacts:
    """The schema revision, tables and columns of one database, read once at start."""

    __slots__ = ("columns", "created", "head", "warnings")

    def __init__(
        self, head: str, columns: Columns, *, created: bool = False, warnings: tuple[str, ...] = ()
    ) -> None:
        self.head = head
        self.columns = {table: frozenset(names) for table, names in columns.items()}
        self.created = created
        self.warnings = warnings

    def has(self, table: str, column: str | None = None) -> bool:
        """Whether the table, or its column, exists."""
        names = self.columns.get(table)
        return names is not None and (column is None or column in names)


class Facts(TableFacts):
    """Those of MLflow's tables. Headrace's own indexes (`indexes.py`) count as tables here."""

    __slots__ = ("missing",)

    def __init__(
        self, head: str, columns: Columns, *, created: bool = False, warnings: tuple[str, ...] = ()
    ) -> None:
        super().__init__(head, columns, created=created, warnings=warnings)
        self.missing = missing_names(self.columns, used.USED)

    @property
    def release(self) -> str | None:
        """The text for the releases of MLflow with this head; None when it is unknown."""
        return heads.release(self.head)

    @property
    def lost(self) -> tuple[str, ...]:
        """The features that are not served because tables or columns are missing."""
        return tuple(used.LOST[name] for name in self.missing if name in used.LOST)


def missing_names(columns: Mapping[str, frozenset[str]], wanted: used.Tables) -> tuple[str, ...]:
    """The required tables (as `table`) and columns (as `table.column`) that do not exist, sorted."""
    missing: list[str] = []
    for table, names in wanted.items():
        if table not in columns:
            missing.append(table)
        else:
            missing += [f"{table}.{name}" for name in names - columns[table]]
    return tuple(sorted(missing))


def can_create(revisions: list[str], columns: Columns) -> bool:
    """Whether MLflow's tables can be created: none of their names is taken. Other tables do not matter."""
    return not revisions and not _taken(columns)


def _taken(columns: Columns) -> list[str]:
    """The names of MLflow's tables that exist already."""
    source = resources.files(__package__).joinpath("sqlite.sql").read_text("utf-8")
    names = set(_CREATE.findall(source))
    if set(columns.get(STAMP, ("version_num",))) == {"version_num"}:
        names.discard(STAMP)  # Alembic's table, empty without a revision
    return sorted(names & set(columns))


def check_schema(revisions: list[str], columns: Columns, uri: str) -> Facts:
    """The facts of a database that can be served. Raises UnusableDatabase for any other.

    `revisions`: the rows of alembic_version. `uri`: without its password, for messages.
    """
    if len(revisions) > 1:
        raise UnusableDatabase(
            f"{uri} has {len(revisions)} schema revisions ({', '.join(revisions)}), but MLflow has one. "
            f"Restore a backup, or let MLflow repair it: headrace db upgrade {uri}"
        )
    if not revisions:
        raise _unstamped(columns, uri)
    head = revisions[0]
    if not MLFLOW_TABLES & frozenset(columns):
        raise UnusableDatabase(
            f"{uri} belongs to another application (its Alembic revision is {head}, and it has "
            "none of MLflow's tables). Use a separate database for MLflow, and create its tables "
            "with: headrace db init URI"
        )
    if head in heads.REVISIONS:
        return _known(head, columns, uri)
    return _unknown(head, columns, uri)


def _known(head: str, columns: Columns, uri: str) -> Facts:
    facts = Facts(head, columns)
    missing = missing_names(facts.columns, used.REQUIRED)
    if missing:
        raise UnusableDatabase(
            f"{uri} is at schema revision {head} ({facts.release}) and lacks {_some(missing)}, "
            f"which headrace needs. Make a backup, then run: headrace db upgrade {uri}"
        )
    return facts


def _unknown(head: str, columns: Columns, uri: str) -> Facts:
    warning = f"{uri} is at schema revision {head}, which this headrace does not know"
    facts = Facts(
        head,
        columns,
        warnings=(f"{warning}; all tables that it uses exist, so it serves the database.",),
    )
    if facts.missing:
        raise UnusableDatabase(
            f"{warning}, and lacks {_some(facts.missing)}, which it uses. If the database is newer "
            "than MLflow 3.18, upgrade headrace; if it is older, make a backup and run: "
            f"headrace db upgrade {uri}"
        )
    unfilled = tuple(
        f"{table}.{column}"
        for table, names in used.USED.items()
        if table not in used.NEVER_FILLED
        for column, required in columns[table].items()
        if required and column not in names
    )
    if unfilled:
        raise UnusableDatabase(
            f"{warning}, and requires a value in {_some(unfilled)}, which it does not write. "
            "Upgrade headrace."
        )
    return facts


def _unstamped(columns: Columns, uri: str) -> UnusableDatabase:
    return UnusableDatabase(
        f"{uri} has tables named like MLflow's ({_some(tuple(_taken(columns)))}) but no schema revision: their "
        "creation was interrupted, or they belong to another application. If they are MLflow's, run: "
        f"headrace db upgrade {uri}. If not, use a separate database for MLflow; on "
        "PostgreSQL a separate schema suffices: ?options=-csearch_path%3DNAME"
    )


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
