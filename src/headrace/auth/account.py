"""Reads users and their grants on every request, so a change by any process counts at once.

Only what follows from the rows is kept, and used as long as the next read finds equal rows.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

from headrace.auth.account_sql import (
    MAX_WHOLE,
    Patterns,
    Question,
    by_keys,
    patterns,
    user_row,
    whole,
)
from headrace.auth.decide import (
    WILDCARD,
    WORKSPACE,
    Grant,
    Level,
    chains,
    is_workspace_admin,
    level_at,
    levels,
)
from headrace.commit.reads import GatheredReads
from headrace.contract.workspaces import DEFAULT as DEFAULT_WORKSPACE
from headrace.db.workspace import DatabaseIn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from headrace.auth.account_sql import UserRow
    from headrace.auth.decide import Defaults, Plan, Requirement
    from headrace.db.base import Database, Row

K = TypeVar("K")
V = TypeVar("V")
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
MAX_ACCOUNTS: Final = 2_048  # about 2 KiB each with a few grants, 30 KiB with the most
LONGEST_KEPT_PATTERNS: Final = 16_384  # characters in all
MAX_DECISIONS: Final = 64  # of each kept account
MAX_WORKSPACES: Final = 1_024  # whose reads are kept, about 1 KiB each


class Account:
    """A user, with the grants that were asked for and possibly others.

    `is_whole`: with all grants. Requests share such an account, so it does not change.
    """

    __slots__ = (
        "_decisions",
        "denied",
        "grants",
        "id",
        "is_admin",
        "is_whole",
        "is_workspace_admin",
        "levels",
        "password_hash",
        "username",
    )

    def __init__(self, row: UserRow, grants: Sequence[Grant], *, is_whole: bool) -> None:
        self.id, self.username, self.is_admin, self.password_hash = row
        self.grants = grants
        self.is_whole = is_whole
        self.is_workspace_admin = is_workspace_admin(grants)
        self.levels: Mapping[tuple[str, str], Level] = levels(grants)
        self.denied = frozenset(
            part for part in PARTS if level_at(self.levels, part, WILDCARD) is Level.DENY
        )
        self._decisions: dict[Plan, bool] = {}

    def allows(self, plan: Plan, defaults: Defaults) -> bool:
        """Whether the grants meet all requirements. `defaults` are the same in every call."""
        known = self._decisions.get(plan)
        if known is None:
            known = plan.is_own(self.username) and plan.is_met(
                self.levels, defaults, everything=self.is_workspace_admin
            )
            if len(self._decisions) >= MAX_DECISIONS:
                self._decisions.clear()
            self._decisions[plan] = known
        return known


class Kept:
    """Results of the last reads, in all workspaces."""

    __slots__ = ("accounts", "current", "is_current", "keys", "large", "version")

    def __init__(self) -> None:
        # The grants to read for frequent requests, because they take longer to find than to look up.
        self.keys: dict[tuple[Requirement, ...], frozenset[tuple[str, str]]] = {}
        # By workspace and user: the last rows, and the account that follows from them.
        self.accounts: dict[tuple[str, str], tuple[list[Row], Account]] = {}
        # Accounts that were read since the database had this version; see `Database.version`.
        self.version: int | None = None
        self.current: dict[tuple[str, str], Account] = {}
        self.is_current = False  # known in this turn of the event loop
        # The users who had more grants than are read at once. Only a guess, to save a read.
        self.large: dict[tuple[str, str], None] = {}

    def end_turn(self) -> None:
        """Ask for the version again."""
        self.is_current = False


class AccountReads:
    """Reads of the users' database; concurrent ones are merged.

    A user has other grants in each workspace. A server without workspaces reads those of `default`.
    """

    def __init__(self, workspace: str = DEFAULT_WORKSPACE, kept: Kept | None = None) -> None:
        """Before any other call, `start` sets the database."""
        self.db: Database
        self._workspace = workspace
        self._kept = Kept() if kept is None else kept
        self._others: dict[str, AccountReads] = {}

    def start(self, db: Database) -> None:
        """Read from this database."""
        self.db = db
        self._reads: GatheredReads[str, Account] = GatheredReads(self._read)
        self._by_keys = GatheredReads(partial(db.read_point, by_keys))

    def within(self, workspace: str | None) -> AccountReads:
        """The reads of grants in a workspace; None: of a server without workspaces."""
        if workspace is None or workspace == self._workspace:
            return self
        found = self._others.get(workspace)
        if found is None:
            found = AccountReads(workspace, self._kept)
            found.start(DatabaseIn(self.db, workspace))
            _put(self._others, workspace, found, MAX_WORKSPACES)
        return found

    async def find(self, name: str, requirements: Sequence[Requirement] = ()) -> Account | None:
        """A user, with the grants that may meet the requirements; None if there is no such user."""
        key = self._workspace, name
        account = self._kept.current.get(key)
        if account is not None and self._knows_current():
            return account
        if key not in self._kept.accounts and not _storable(name):
            return None
        if key not in self._kept.large:
            account = await self._reads.get(name)
            if account is None or account.is_whole:
                return account
        found = await self._by_keys.get(Question(name, self._needed(tuple(requirements))))
        return None if found is None else Account(*found, is_whole=False)

    def _knows_current(self) -> bool:
        """Whether the database still has the version of the accounts in memory.

        Requests that the event loop handles in one turn share the question: it is asked after all of
        them have arrived.
        """
        kept = self._kept
        if not kept.is_current and self.db.version() == kept.version:
            kept.is_current = True
            asyncio.get_running_loop().call_soon(kept.end_turn)
        return kept.is_current

    def is_large(self, name: str) -> bool:
        """Whether the user had more grants than are read at once, the last time."""
        return (self._workspace, name) in self._kept.large

    async def _read(self, names: Iterable[str]) -> dict[str, Account]:
        kept = self._kept
        version = self.db.version()
        if version is None or version != kept.version:
            kept.current.clear()
            kept.version = version
        found: dict[str, list[Row]] = {}
        for row in await self.db.read_point(whole, names):
            rows = found.get(row[1])
            if rows is None:
                found[row[1]] = [row]
            else:
                rows.append(row)
        accounts = {name: self._account(name, rows) for name, rows in found.items()}
        # Meanwhile a read in another workspace may have found a newer version.
        if version is not None and version == kept.version:
            for name, account in accounts.items():
                key = self._workspace, name
                if key in kept.accounts and kept.accounts[key][1] is account:
                    _put(kept.current, key, account)
        return accounts

    def _account(self, name: str, rows: list[Row]) -> Account:
        """The account of rows of `WHOLE`: the last one if they are equal."""
        key = self._workspace, name
        known = self._kept.accounts.get(key)
        if known is not None and known[0] == rows:
            return known[1]
        grants = [Grant(*row[4:]) for row in rows if row[4] is not None]
        account = Account(user_row(*rows[0][:4]), grants, is_whole=len(grants) <= MAX_WHOLE)
        if not account.is_whole:
            _put(self._kept.large, key, None)
        elif sum(len(grant.pattern) for grant in grants) <= LONGEST_KEPT_PATTERNS:
            _put(self._kept.accounts, key, (rows, account))
        return account

    def _needed(self, requirements: tuple[Requirement, ...]) -> frozenset[tuple[str, str]]:
        keys = self._kept.keys.get(requirements)
        if keys is None:
            keys = _keys(requirements)
            if len(requirements) <= MAX_KEPT and all(map(_is_short, requirements)):
                _put(self._kept.keys, requirements, keys, MAX_KEYS)
        return keys

    async def patterns(self, name: str, types: Collection[str]) -> Patterns:
        """The patterns of all the user's grants of these types: by type and permission."""
        return await self.db.read(patterns, name, types)


def _put(kept: dict[K, V], key: K, value: V, limit: int = MAX_ACCOUNTS) -> None:
    """Keep a value; the oldest key leaves."""
    if len(kept) >= limit and key not in kept:
        del kept[next(iter(kept))]
    kept[key] = value


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
