"""SQL statements: one text with tokens for all databases, or one text for each database."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from headrace.contract.workspaces import is_workspace_name

if TYPE_CHECKING:
    from collections.abc import Mapping

# The expansion of each token (such as `{in $1 text}`) for each database; `{}` are its arguments.
POSTGRES: Final = {
    "in {} text": "= ANY({}::varchar[])",  # one of the texts of a parameter from `Tx.array`
    "in {} int": "= ANY({}::int[])",
    # Locks until the transaction ends: no other transaction changes the rows.
    "for update": "FOR NO KEY UPDATE",
    "for delete": "FOR UPDATE",  # nor inserts references to the rows
    "for share": "FOR SHARE",  # other transactions may share the lock
    "bytes {}": "octet_length({})",
    "json bytes {}": "octet_length({}::text)",  # of a column of the type json
    "bytewise": 'COLLATE "C"',  # the order of the text's UTF-8 bytes
    "stored": "ctid",  # the place of a row in its table: mostly the order of insertion
    "stored by {}": "ctid",  # the same, possibly grouped by the value of the column
    "contains {} {}": "strpos({}, {}) > 0",
    "join in order": "JOIN",  # SQLite's planner must be forced to read the left side first
}
SQLITE: Final = {
    "in {} text": "IN (SELECT value FROM json_each({}))",
    "in {} int": "IN (SELECT value FROM json_each({}))",
    "for update": "",  # SQLite has only one writing transaction at a time
    "for delete": "",
    "for share": "",
    "bytes {}": "length(CAST({} AS BLOB))",
    "json bytes {}": "length(CAST({} AS BLOB))",
    "bytewise": "",
    "stored": "rowid",
    "stored by {}": "{}, rowid",
    "contains {} {}": "instr({}, {}) > 0",
    "join in order": "CROSS JOIN",
}
# The lock timeout of a statement that is a transaction by itself (PostgreSQL; a condition). It is set
# once, before the statement locks anything, and does not remain set in the session, which may
# belong to a connection pooler.
LIMITS_LOCKS: Final = " AND (SELECT set_config('lock_timeout', '500ms', true)) IS NOT NULL"
ColumnType = Literal["text", "int", "bigint", "double", "bool", "json"]
_ARRAYS: Final[dict[ColumnType, str]] = {
    "text": "varchar[]",
    "int": "int[]",
    "bigint": "bigint[]",
    "double": "float8[]",
    "bool": "bool[]",
    "json": "json[]",
}
MAX_SCOPED: Final = 8192  # statements for certain workspaces that are kept
_TOKEN: Final = re.compile(r"\{([^{}]*)\}")
_OF_WORKSPACE: Final = re.compile(r"\{(?:in |of )?workspace\b")
_PLACEHOLDER: Final = re.compile(r"\$(\d+)")


def workspace_words(name: str | None) -> dict[str, str]:
    """The expansion of the tokens that depend on the workspace of a statement.

    None: the server has no workspaces. Every row then belongs to `default`, and a table may lack the
    column, which only `{workspace}` names. `name` must be a valid name: it becomes part of the text.
    """
    if name is None:
        return {
            "workspace": "'default'",
            "in workspace": "",
            "in workspace {}": "",
            "of workspace": "",
            "in workspace {} {}": "",
            "workspace column": "",
            "workspace value": "",
        }
    assert is_workspace_name(name), "a name that was checked"
    return {
        "workspace": f"'{name}'",
        "in workspace": f"workspace = '{name}' AND ",
        "in workspace {}": f"{{}}.workspace = '{name}' AND ",
        # The experiment of a row.
        "of workspace": "experiment_id IN"
        f" (SELECT experiment_id FROM experiments WHERE workspace = '{name}') AND ",
        # Of a row that refers to another: the column with its id, without an alias, and its table.
        "in workspace {} {}": f"{{0}} IN (SELECT {{0}} FROM {{1}} WHERE workspace = '{name}') AND ",
        "workspace column": ", workspace",  # of an INSERT
        "workspace value": f", '{name}'",
    }


def expand(text: str, words: Mapping[str, str]) -> str:
    """`text` with its tokens expanded for a database. Raises LookupError for an unknown token."""

    def words_of(token: re.Match[str]) -> str:
        for name, expansion in words.items():
            pattern = re.escape(name).replace(r"\{\}", r"(\S+)")
            if found := re.fullmatch(pattern, token[1]):
                return expansion.format(*found.groups())
        raise LookupError(f"no database has words for {token[0]}")

    return _TOKEN.sub(words_of, text)


class Sql:
    """One statement; `$1` … are its parameters on every database.

    Use `Sql(text)` if the databases differ only in tokens, and `Sql(postgres=…, sqlite=…)`
    otherwise. The attribute of a database without the statement is not set: reading it raises
    AttributeError. `workspace`: see `workspace_words`.
    """

    __slots__ = ("_texts", "postgres", "sqlite")
    postgres: str
    sqlite: str

    def __init__(
        self,
        text: str | None = None,
        *,
        postgres: str | None = None,
        sqlite: str | None = None,
        workspace: str | None = None,
    ) -> None:
        postgres = text if postgres is None else postgres
        sqlite = text if sqlite is None else sqlite
        assert postgres or sqlite, "a statement needs a text"
        words = workspace_words(workspace)
        if postgres:
            self.postgres = expand(postgres, POSTGRES | words)
        if sqlite:
            self.sqlite = _PLACEHOLDER.sub(r"?\1", expand(sqlite, SQLITE | words))
        # With their tokens, if a workspace changes them.
        changes = workspace is None and _OF_WORKSPACE.search(f"{postgres} {sqlite}")
        self._texts = (postgres, sqlite) if changes else None

    def scoped(self, workspace: str) -> Sql:
        """The same statement for the rows of a workspace of a server with workspaces."""
        return self if self._texts is None else _scoped(self, workspace)


@lru_cache(maxsize=MAX_SCOPED)
def _scoped(sql: Sql, workspace: str) -> Sql:
    assert sql._texts is not None, "a text with tokens of a workspace"
    postgres, sqlite = sql._texts
    return Sql(postgres=postgres, sqlite=sqlite, workspace=workspace)


@lru_cache(maxsize=512)
def statement(text: str) -> Sql:
    """The statement for a text that was composed at run time. Recent statements are cached."""
    return Sql(text)


class Replace:
    """On conflict, the new row replaces the existing one with the same key.

    `if_greater`: only if these columns, compared in order, are greater than those of the existing
    row.
    """

    __slots__ = ("if_greater", "key")

    def __init__(self, *key: str, if_greater: tuple[str, ...] = ()) -> None:
        self.key = key
        self.if_greater = if_greater

    def clause(self, table: str, columns: Mapping[str, ColumnType]) -> str:
        """The clause of an INSERT of these columns."""
        sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns if name not in self.key)
        clause = f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {sets}"
        if self.if_greater:
            new, old = (
                ", ".join(f"{row}.{name}" for name in self.if_greater)
                for row in ("EXCLUDED", table)
            )
            clause += f" WHERE ({new}) > ({old})"
        return clause


class Bulk(Sql):
    """An INSERT of many rows (`Tx.executemany`, `Tx.copy_new`), generated from its columns.

    `columns` are in the order of a row's values. `on_conflict` handles a row whose key exists;
    without it, such a row raises `UniqueViolation`. `fixed` has the columns with the same value in
    every row, an SQL literal. `in_workspace`: the table has the column `workspace`.
    """

    __slots__ = ("_kinds", "clause", "columns", "table")

    def __init__(
        self,
        table: str,
        *,
        on_conflict: Literal["ignore"] | Replace | None = None,
        fixed: Mapping[str, str] | None = None,
        in_workspace: bool = False,
        **columns: ColumnType,
    ) -> None:
        self.table = table
        self.columns = tuple(columns)
        self._kinds = tuple(columns.values())
        fixed = fixed or {}
        column, value = ("{workspace column}", "{workspace value}") if in_workspace else ("", "")
        insert = f"INSERT INTO {table} ({', '.join([*columns, *fixed])}{column})"
        self.clause = ""  # ON CONFLICT …, for statements that contain the INSERT
        if isinstance(on_conflict, Replace):
            self.clause = on_conflict.clause(table, columns)
        elif on_conflict == "ignore":
            self.clause = " ON CONFLICT DO NOTHING"
        numbered = [f"${n}" for n in range(1, len(columns) + 1)]
        super().__init__(
            postgres=f"{insert} SELECT {', '.join(['*', *fixed.values()])}{value}"
            f" FROM {self.unnested(1)}{self.clause}",
            sqlite=f"{insert} VALUES ({', '.join([*numbered, *fixed.values()])}{value}){self.clause}",
        )

    def unnested(self, first: int) -> str:
        """The rows as a table, for other statements of PostgreSQL; `first` is the number of its first parameter."""
        arrays = [f"${n}::{_ARRAYS[kind]}" for n, kind in enumerate(self._kinds, first)]
        return f"unnest({', '.join(arrays)})"
