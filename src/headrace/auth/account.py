"""Reads users and their grants. Nothing is cached: a change by any process counts at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from headrace.auth.account_sql import Account, Patterns, Question, accounts, patterns
from headrace.auth.decide import WILDCARD, WORKSPACE
from headrace.commit.reads import BatchedReads

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from headrace.auth.decide import Requirement
    from headrace.db.base import Database

# Handlers ask on every route whether these are denied (`Access.hides`).
PARTS: Final = frozenset(
    {"run", "trace", "assessment", "logged_model", "registered_model_version", "prompt_version"}
)
ALWAYS: Final = frozenset((part, WILDCARD) for part in (WORKSPACE, *PARTS))
# Characters; SQLite does not limit user names and patterns to the 255 that MLflow's schema states.
MAX_NAME: Final = 2000


class AccountReads:
    """Reads of the users' database; concurrent ones of single users are merged."""

    def __init__(self) -> None:
        """Before any other call, `start` sets the database."""
        self.db: Database

    def start(self, db: Database) -> None:
        """Read from this database."""
        self.db = db
        self._reads = BatchedReads(partial(db.read_point, accounts))

    async def find(self, name: str, requirements: Iterable[Requirement] = ()) -> Account | None:
        """A user, with the grants that may meet the requirements; None if there is no such user."""
        if not _storable(name):
            return None
        keys = set(ALWAYS)
        for requirement in requirements:
            for resource_type, id_, _ in requirement:
                keys.add((resource_type, WILDCARD))
                if _storable(id_):
                    keys.add((resource_type, id_))
        return await self._reads.get(Question(name, frozenset(keys)))

    async def patterns(self, name: str, types: Collection[str]) -> Patterns:
        """The patterns of all the user's grants of these types: by type and permission."""
        return await self.db.read(patterns, name, types)


def _storable(text: str) -> bool:
    """Whether a database may hold the text. PostgreSQL cannot even be asked for others."""
    if len(text) > MAX_NAME or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
