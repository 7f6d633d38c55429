"""The tables of users, roles and grants (MLflow's basic-auth app), and whether headrace can serve them.

They have Alembic revisions of their own, in `alembic_version_auth`, and may be in the tracking
database or in another one.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from headrace.db.schema.facts import TableFacts, UnusableDatabase, missing_names
from headrace.db.schema.used import tables
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from headrace.db.schema.facts import Columns

HEAD: Final = "f1a2b3c4d5e6"  # of MLflow 3.17.2 and 3.18.0
STAMP: Final = "alembic_version_auth"
STAMP_HEAD: Final = Sql(f"INSERT INTO {STAMP} (version_num) VALUES ('{HEAD}')")
# The revisions before HEAD, oldest first.
OLDER: Final = (
    "8606fa83a998",
    "0965eb92f5f0",
    "a1b2c3d4e5f6",
    "2ed73881770d",
    "c3d4e5f6a7b8",
    "e5f6a7b8c9d0",
)

USED: Final = tables(
    alembic_version_auth="version_num",
    users="id username password_hash is_admin",
    roles="id name workspace description",
    role_permissions="id role_id resource_type resource_pattern permission",
    user_role_assignments="id user_id role_id",
)
# Tables of older revisions. MLflow does not read them any more, but their rows refer to users.
DEAD: Final = (
    "experiment_permissions",
    "registered_model_permissions",
    "scorer_permissions",
    "gateway_secret_permissions",
    "gateway_endpoint_permissions",
    "gateway_model_definition_permissions",
    "workspace_permissions",
)
_NAMES: Final = frozenset(USED) | frozenset(DEAD)
UPGRADE: Final = "python -m mlflow.server.auth db upgrade --url"


class AuthFacts(TableFacts):
    """Those of the tables of users."""

    __slots__ = ()

    @property
    def dead(self) -> tuple[str, ...]:
        """The tables of DEAD that exist."""
        return tuple(table for table in DEAD if table in self.columns)


def script(dialect_file: str) -> str:
    """The text of auth_sqlite.sql or auth_postgres.sql."""
    return resources.files(__package__).joinpath(dialect_file).read_text("utf-8")


def can_create(revisions: list[str], columns: Columns) -> bool:
    """Whether the tables can be created: none of their names is taken. Other tables do not matter."""
    return not revisions and not _taken(columns)


def check_schema(revisions: list[str], columns: Columns, uri: str) -> AuthFacts:
    """The facts of tables that can be served. Raises UnusableDatabase for any other.

    `revisions`: the rows of alembic_version_auth. `uri`: without its password, for messages.
    """
    if len(revisions) > 1:
        raise UnusableDatabase(
            f"{uri} has {len(revisions)} schema revisions of users ({', '.join(revisions)}), but "
            "MLflow has one. Restore a backup."
        )
    if not revisions:
        raise UnusableDatabase(
            f"{uri} has tables named like MLflow's tables of users ({', '.join(_taken(columns))}) but no "
            "revision: they are older than MLflow 3.6, or they belong to another application. If "
            f"they are MLflow's, make a backup and run: {UPGRADE} {uri}. If not, use another "
            "database for users (database_uri)."
        )
    head = revisions[0]
    if head in OLDER:
        raise UnusableDatabase(
            f"{uri} has users at schema revision {head}, which is older than {HEAD}, the one of "
            f"MLflow 3.17. Make a backup, then run: {UPGRADE} {uri}"
        )
    facts = AuthFacts(head, columns)
    missing = missing_names(facts.columns, USED)
    if head == HEAD:
        if missing:
            raise UnusableDatabase(
                f"{uri} has users at schema revision {head}, but lacks {', '.join(missing)}. "
                "Restore a backup."
            )
        return facts
    return _unknown(facts, columns, missing, uri)


def _unknown(facts: AuthFacts, columns: Columns, missing: tuple[str, ...], uri: str) -> AuthFacts:
    warning = f"{uri} has users at schema revision {facts.head}, which this headrace does not know"
    if missing:
        raise UnusableDatabase(
            f"{warning}, and lacks {', '.join(missing)}, which it uses. Upgrade headrace."
        )
    unfilled = [
        f"{table}.{column}"
        for table, names in USED.items()
        for column, required in columns[table].items()
        if required and column not in names
    ]
    if unfilled:
        raise UnusableDatabase(
            f"{warning}, and requires a value in {', '.join(unfilled)}, which it does not write. "
            "Upgrade headrace."
        )
    facts.warnings = (f"{warning}; all tables that it uses exist, so it serves them.",)
    return facts


def _taken(columns: Columns) -> list[str]:
    """The names of the tables that exist already. Alembic's table without a revision is free."""
    return sorted(_NAMES & frozenset(columns) - {STAMP})
