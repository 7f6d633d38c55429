"""The indexes that headrace adds to MLflow's tables, in groups.

MLflow's schema has no index for the searches that it serves most often. The indexes of `RUNS` are
made with a new database, and by `headrace db tune` on an existing one. Those for traces are made only
on request, because each insert of a trace would pay for them. MLflow ignores all of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from headrace.db.base import Dialect, Schema


class Index(NamedTuple):
    """An index. `postgres` and `sqlite` follow CREATE INDEX … ON; empty if a database needs none."""

    name: str
    use: str  # for people: the searches that it speeds up
    gain: str  # for people: measured, in docs/decisions/indexes.md; empty if it is optional
    needs: str  # the table, and the columns that old databases may lack
    postgres: str
    sqlite: str = ""

    def text(self, dialect: Dialect) -> str:
        """The definition for this kind of database, or an empty text."""
        return self.postgres if dialect == "postgres" else self.sqlite

    @property
    def table(self) -> str:
        """The table that is indexed."""
        return self.needs.partition(" ")[0]

    def statement(self, dialect: Dialect) -> str:
        """The statement that creates the index in a transaction."""
        return f"CREATE INDEX {self.name} ON {self.text(dialect)}"

    def fits(self, schema: Schema, dialect: Dialect) -> bool:
        """Whether this database has the table and columns, and use for the index."""
        table, *columns = self.needs.split()
        has_all = schema.has(table) and all(schema.has(table, column) for column in columns)
        return has_all and bool(self.text(dialect))


# Read backwards, this is the order of a search: start_time DESC NULLS LAST, run_uuid. In the other
# direction each new run would be the first of its experiment, and leave half-filled pages on SQLite.
TUNED: Final = (
    Index(
        "headrace_runs_page",
        "pages of an experiment's runs, newest first",
        "0.6 instead of 179 ms for 100 of 100,000 runs",
        "runs",
        "runs (experiment_id, start_time NULLS FIRST, run_uuid DESC)",
        "runs (experiment_id, start_time, run_uuid DESC)",
    ),
)
# The values of tags and metadata may have 8,000 characters, more than a B-tree takes; so these
# indexes have the first 250, and searches for shorter values use them. PostgreSQL only: SQLite
# evaluates the conditions of a search trace by trace, in the order of the answer.
TRACES: Final = (
    Index(
        "headrace_trace_tags",
        "searches by the value of a trace's tag",
        "",
        "trace_tags",
        "trace_tags (key, substr(value, 1, 250), request_id)",
    ),
    Index(
        "headrace_trace_metadata",
        "searches by the value of a trace's metadata, and by run",
        "",
        "trace_request_metadata",
        "trace_request_metadata (key, substr(value, 1, 250), request_id)",
    ),
    Index(
        "headrace_span_names",
        "searches by the name of a span",
        "",
        "spans",
        "spans (experiment_id, substr(name, 1, 250), trace_id)",
    ),
)
TRACE_TEXT: Final = Index(
    "headrace_span_text",
    "searches for text in spans",
    "",
    "spans",
    "spans USING gin (content gin_trgm_ops)",
)
ALL: Final = (*TUNED, *TRACES, TRACE_TEXT)
_BY_NAME: Final = {index.name: index for index in ALL}
_BLANKS: Final = re.compile(r'[\s"]+')


def of_new_databases(dialect: Dialect) -> list[str]:
    """The statements for a database whose tables have just been created."""
    return [index.statement(dialect) for index in TUNED if index.text(dialect)]


def missing(schema: Schema, dialect: Dialect) -> list[Index]:
    """The indexes of `TUNED` that the database lacks."""
    return [one for one in TUNED if one.fits(schema, dialect) and not schema.has(one.name)]


def is_ours(name: str, statement: str) -> bool:
    """Whether an index of SQLite is one of these, as this version of headrace makes it.

    MLflow's migrations copy some tables, and their indexes without the direction of a column.
    """
    index = _BY_NAME.get(name)
    return index is not None and _plain(statement) == _plain(index.statement("sqlite"))


def _plain(statement: str) -> str:
    return _BLANKS.sub("", statement)


def offer(schema: Schema, dialect: Dialect, uri: str) -> str:
    """One line about the missing indexes and their gain, for the start of a server; may be empty."""
    lacks = missing(schema, dialect)
    if not lacks:
        return ""
    gains = "; ".join(f"{index.use} ({index.gain})" for index in lacks)
    return f"{len(lacks)} missing, for {gains}. Make them with: headrace db tune {uri}"
