"""Reads users and their grants. Nothing is cached: a change by any process counts at once."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

from headrace.auth.account_sql import Account, Patterns, Question, accounts, patterns
from headrace.auth.decide import WILDCARD, WORKSPACE, chains
from headrace.commit.reads import GatheredReads

if TYPE_CHECKING:
    from collections.abc import Collection

    from headrace.auth.decide import Requirement
    from headrace.db.base import Database

# Handlers ask on every route whether these are denied (`Access.hides`).
PARTS: Final = frozenset(
    {"run", "trace", "assessment", "logged_model", "registered_model_version", "prompt_version"}
)
ALWAYS: Final = frozenset((part, WILDCARD) for part in (WORKSPACE, *PARTS))
# Characters; SQLite does not limit user names and patterns to the 255 that MLflow's schema states.
MAX_NAME: Final = 2000
MAX_KEYS: Final = 8_192  # about 2 KiB each
MAX_KEPT: Final = 8  # requirements; longer lists are rarely repeated
LONGEST_KEPT_ID: Final = 64  # characters


class AccountReads:
    """Reads of the users' database; concurrent ones of single users are merged."""

    def __init__(self) -> None:
        """Before any other call, `start` sets the database."""
        self.db: Database
        # Of frequent requests, because they take longer to find than to look up.
        self._keys: dict[tuple[Requirement, ...], frozenset[tuple[str, str]]] = {}

    def start(self, db: Database) -> None:
        """Read from this database."""
        self.db = db
        self._reads = GatheredReads(partial(db.read_point, accounts))

    async def find(self, name: str, requirements: tuple[Requirement, ...] = ()) -> Account | None:
        """A user, with the grants that may meet the requirements; None if there is no such user."""
        if not _storable(name):
            return None
        keys = self._keys.get(requirements)
        if keys is None:
            keys = _keys(requirements)
            if len(requirements) <= MAX_KEPT and all(map(_is_short, requirements)):
                if len(self._keys) >= MAX_KEYS:
                    del self._keys[next(iter(self._keys))]
                self._keys[requirements] = keys
        return await self._reads.get(Question(name, keys))

    async def patterns(self, name: str, types: Collection[str]) -> Patterns:
        """The patterns of all the user's grants of these types: by type and permission."""
        return await self.db.read(patterns, name, types)


def _keys(requirements: tuple[Requirement, ...]) -> frozenset[tuple[str, str]]:
    """The type and pattern of each grant that may meet the requirements."""
    keys = set(ALWAYS)
    for requirement in requirements:
        for resource_type, id_, _ in chain.from_iterable(chains(requirement)):
            keys.add((resource_type, WILDCARD))
            if _storable(id_):
                keys.add((resource_type, id_))
    return frozenset(keys)


def _is_short(requirement: Requirement) -> bool:
    steps = chain.from_iterable(chains(requirement))
    return all(len(step.id) <= LONGEST_KEPT_ID for step in steps)


def _storable(text: str) -> bool:
    """Whether a database may hold the text. PostgreSQL cannot even be asked for others."""
    if len(text) > MAX_NAME or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
