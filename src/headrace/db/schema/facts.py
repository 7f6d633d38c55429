"""What was found in a database, and the decision whether it can be served as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

from headrace.db.schema import heads, used

STAMP: Final = "alembic_version"
MLFLOW_TABLES: Final = frozenset(used.USED) - {STAMP}
_CREATE: Final = re.compile(r'^CREATE TABLE "?(\w+)', re.MULTILINE)
# Found columns per table; True: an INSERT has to name the column (NOT NULL and no default).
Columns = Mapping[str, Mapping[str, bool]]


class UnusableDatabase(Exception):
    """This database cannot be served. The text is for a person and names the command to run.

    `transient`: it may work a moment later (the server is starting, the file is locked).
    """

    def __init__(self, text: str, *, transient: bool = False) -> None:
        super().__init__(text)
        self.transient = transient


class Facts:
    """The tables and columns of one database. Read once at start, then asked by statements."""

    __slots__ = ("columns", "created", "head", "missing", "warnings")

    def __init__(
        self, head: str, columns: Columns, *, created: bool = False, warnings: tuple[str, ...] = ()
    ) -> None:
        self.head = head
        self.columns = {table: frozenset(names) for table, names in columns.items()}
        self.created = created
        self.warnings = warnings
        self.missing = absent(self.columns, used.USED)

    def has(self, table: str, column: str | None = None) -> bool:
        """Whether the table, or the column of it, is there."""
        names = self.columns.get(table)
        return names is not None and (column is None or column in names)

    @property
    def release(self) -> str | None:
        """The releases of MLflow this head belongs to, in words; None when it is unknown."""
        return heads.release(self.head)

    @property
    def lost(self) -> tuple[str, ...]:
        """What is not served because of what is missing, in words."""
        return tuple(used.LOST[name] for name in self.missing if name in used.LOST)


def absent(columns: Mapping[str, frozenset[str]], wanted: used.Tables) -> tuple[str, ...]:
    """The wanted tables (as `table`) and columns (as `table.column`) that are not there, sorted."""
    missing: list[str] = []
    for table, names in wanted.items():
        if table not in columns:
            missing.append(table)
        else:
            missing += [f"{table}.{name}" for name in names - columns[table]]
    return tuple(sorted(missing))


def creatable(revisions: list[str], columns: Columns) -> bool:
    """Whether to make MLflow's tables: none of their names is taken. Tables of others are no matter."""
    return not revisions and not _taken(columns)


def _taken(columns: Columns) -> list[str]:
    """Names of tables that MLflow makes and somebody has made already."""
    source = resources.files(__package__).joinpath("sqlite.sql").read_text("utf-8")
    names = set(_CREATE.findall(source))
    if set(columns.get(STAMP, ("version_num",))) == {"version_num"}:
        names.discard(STAMP)  # Alembic's own, and without a revision it is empty
    return sorted(names & set(columns))


def judge(revisions: list[str], columns: Columns, uri: str) -> Facts:
    """The facts of a database that can be served as it is; UnusableDatabase for any other.

    `revisions`: the rows of alembic_version. `uri`: as shown to people, without its password.
    """
    if len(revisions) > 1:
        raise UnusableDatabase(
            f"{uri} carries {len(revisions)} schema revisions ({', '.join(revisions)}) where "
            f"MLflow has one. Restore a backup, or let MLflow repair it: headrace db upgrade {uri}"
        )
    if not revisions:
        raise _unstamped(columns, uri)
    head = revisions[0]
    if not MLFLOW_TABLES & frozenset(columns):
        raise UnusableDatabase(
            f"{uri} belongs to another application (its Alembic revision is {head}, and it has "
            "none of MLflow's tables). Name a database of its own for MLflow and create its tables "
            "with: headrace db init URI"
        )
    if head in heads.REVISIONS:
        return _known(head, columns, uri)
    return _unknown(head, columns, uri)


def _known(head: str, columns: Columns, uri: str) -> Facts:
    facts = Facts(head, columns)
    missing = absent(facts.columns, used.REQUIRED)
    if missing:
        raise UnusableDatabase(
            f"{uri} is at schema revision {head} ({facts.release}) and lacks {_some(missing)}, "
            f"which headrace needs. Make a backup, then run: headrace db upgrade {uri}"
        )
    return facts


def _unknown(head: str, columns: Columns, uri: str) -> Facts:
    warning = f"{uri} is at schema revision {head}, which this headrace does not know"
    facts = Facts(
        head, columns, warnings=(f"{warning}; every table it uses is there, so it serves.",)
    )
    if facts.missing:
        raise UnusableDatabase(
            f"{warning}, and lacks {_some(facts.missing)}, which it uses. If the database is newer "
            "than MLflow 3.17, upgrade headrace; if it is older, make a backup and run: "
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
        "creation stopped half-way, or they are another's. If they are MLflow's, run: "
        f"headrace db upgrade {uri}. If they are another's, name a database of its own for MLflow; on "
        "PostgreSQL a schema will do: ?options=-csearch_path%3DNAME"
    )


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
