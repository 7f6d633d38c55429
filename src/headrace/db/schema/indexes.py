"""The indexes that headrace adds to MLflow's tables, in groups.

MLflow's schema has no index for the searches that it serves most often. The indexes of `RUNS` are
made with a new database, and by `headrace db tune` on an existing one. Those for traces are made only
on request, because they make each insert of a trace slower. MLflow ignores all of them.
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
    gain: str  # for people, from docs/decisions/indexes.md; empty if the index is optional
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


def _on_both(name: str, use: str, gain: str, needs: str, columns: str) -> Index:
    """An index with the same definition on both databases."""
    text = f"{needs.partition(' ')[0]} {columns}"
    return Index(name, use, gain, needs, text, text)


# A page is read backwards, because its newest row is the first: for runs this is start_time DESC NULLS
# LAST, run_uuid. In the other direction each new row would be the first of its experiment, and leave
# half-filled pages on SQLite.
TUNED: Final = (
    Index(
        "headrace_runs_page",
        "an experiment's newest runs",
        "0.1 instead of 39 ms",
        "runs",
        "runs (experiment_id, start_time NULLS FIRST, run_uuid DESC)",
        "runs (experiment_id, start_time, run_uuid DESC)",
    ),
    _on_both(
        "headrace_experiments_page",
        "the newest experiments",
        "0.1 instead of 23 ms",
        "experiments",
        "(creation_time, experiment_id DESC)",
    ),
    _on_both(
        "headrace_experiments_name",
        "an experiment by name",
        "0.1 instead of 8 ms",
        "experiments",
        "(name)",
    ),
    # On SQLite, `search.model_versions_page` keeps the versions of a model or of a run from using it.
    _on_both(
        "headrace_versions_page",
        "the newest model versions",
        "0.5 instead of 43 ms",
        "model_versions workspace",
        "(workspace, last_updated_time, name DESC, version)",
    ),
    _on_both(
        "headrace_versions_run",
        "the model versions of a run",
        "0.4 instead of 15 ms",
        "model_versions",
        "(run_id)",
    ),
    _on_both(
        "headrace_logged_models_page",
        "an experiment's newest logged models",
        "0.3 instead of 18 ms",
        "logged_models",
        "(experiment_id, creation_timestamp_ms, model_id DESC)",
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
    """One line about the missing indexes, for the start of a server; may be empty."""
    count = len(missing(schema, dialect))
    return f"{count} missing. To make them: headrace db tune {uri}" if count else ""


def gains(schema: Schema, dialect: Dialect) -> str:
    """The gain of each missing index; may be empty."""
    lacks = missing(schema, dialect)
    if not lacks:
        return ""
    listed = ", ".join(f"{index.use} {index.gain}" for index in lacks)
    return f"With them, of 100,000 rows: {listed}."
