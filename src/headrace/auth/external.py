"""Users who log in at a proxy or an identity provider: made on their first request, with their roles.

Their permissions are MLflow's own: roles and grants in MLflow's tables.
"""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.auth import external_sql as sql
from headrace.auth.authority import Caller, Unauthenticated
from headrace.auth.groups import Groups, RoleName
from headrace.auth.passwords import no_password

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.auth.audit import Audit
    from headrace.auth.authority import Account, Head
    from headrace.db.base import Database, Row, Tx

LONGEST_NAME: Final = 255  # characters, the length of the column
MAX_ROLES: Final = 10_000  # of one user
# For this time a user's roles are not compared with unchanged groups again.
RECHECK_S: Final = 30.0
MAX_SEEN: Final = 10_000  # users


class Difference(NamedTuple):
    """The changes that give a user what the groups say; `is_admin` None: no change."""

    is_new: bool
    is_admin: bool | None
    added: list[tuple[int, RoleName]]
    removed: list[tuple[int, RoleName]]

    def __bool__(self) -> bool:
        return bool(self.is_new or self.is_admin is not None or self.added or self.removed)


class ExternalUsers:
    """Keeps the rows of external users as their logins say."""

    def __init__(self, groups: Groups, audit: Audit, now: Callable[[], float] = monotonic) -> None:
        self._groups = groups
        self._audit = audit
        self._now = now
        self._db: Database
        self._seen: OrderedDict[str, tuple[tuple[str, ...] | None, float]] = OrderedDict()

    def start(self, db: Database) -> None:
        """Use this database of users."""
        self._db = db

    async def arrive(self, head: Head, name: str, groups: tuple[str, ...] | None) -> Caller:
        """The caller for a user who is logged in elsewhere; None: the login says no groups.

        Makes the user, and gives and takes the roles of groups. Raises Unauthenticated for a name
        that no user can have.
        """
        check_name(name)
        seen = self._seen.get(name)
        if seen is None or seen[0] != groups or seen[1] <= self._now():
            await self._update(head, name, groups)
            self._seen[name] = groups, self._now() + RECHECK_S
            self._seen.move_to_end(name)
            if len(self._seen) > MAX_SEEN:
                self._seen.popitem(last=False)
        return ExternalCaller(name, self)

    def forget(self, name: str) -> None:
        """Make the user again on the next request, if the row is gone."""
        self._seen.pop(name, None)

    async def _update(self, head: Head, name: str, groups: tuple[str, ...] | None) -> None:
        if not await self._db.read_point(self._difference, name, groups, False):
            return
        changed = await self._db.write(self._apply, name, groups, no_password())
        changes: list[tuple[str, dict[str, object]]] = []
        if changed.is_new:
            changes.append(("user.create", {}))
        if changed.is_admin is not None:
            changes.append(("user.set_admin", {"is_admin": changed.is_admin}))
        changes += [("role.assign", {"role": role.name}) for _, role in changed.added]
        changes += [("role.unassign", {"role": role.name}) for _, role in changed.removed]
        for action, objects in changes:
            self._audit.changed(head, name, action, target=name, by="external login", **objects)

    async def _apply(
        self, tx: Tx, name: str, groups: tuple[str, ...] | None, password_hash: str
    ) -> Difference:
        is_new = await tx.execute(sql.ADD_USER, name, password_hash) > 0
        difference = await self._difference(tx, name, groups, True)
        row = await tx.fetchrow(sql.FIND_USER, name)
        if row is None:  # deleted between the first two statements
            raise Unauthenticated("deleted user")
        if difference.is_admin is not None:
            await tx.execute(sql.SET_ADMIN, row[0], difference.is_admin)
        for role_id, _ in difference.added:
            await tx.execute(sql.ASSIGN, row[0], role_id)
        if difference.removed:
            removed = tx.array([role_id for role_id, _ in difference.removed])
            await tx.execute(sql.UNASSIGN, row[0], removed)
        return difference._replace(is_new=is_new)

    async def _difference(
        self, tx: Tx, name: str, groups: tuple[str, ...] | None, locks: bool
    ) -> Difference:
        row = await tx.fetchrow(sql.LOCK_USER if locks else sql.FIND_USER, name)
        if row is None:
            return Difference(True, None, [], [])
        if groups is None:
            return Difference(False, None, [], [])
        wanted = self._groups.roles(groups)
        held = _by_name(await tx.fetch(sql.HELD, row[0], MAX_ROLES))
        missing = wanted - held.keys()
        added: list[tuple[int, RoleName]] = []
        if missing:
            found = await tx.fetch(
                sql.HOLD_ROLES if locks else sql.ROLES,
                tx.array([role.name for role in missing]),
                tx.array([role.workspace for role in missing]),
            )
            added = [(id_, role) for role, id_ in _by_name(found).items() if role in missing]
        removed = [
            (id_, role)
            for role, id_ in held.items()
            if role not in wanted and self._groups.decides(role)
        ]
        is_admin = self._groups.is_admin(groups)
        return Difference(False, None if is_admin == bool(row[1]) else is_admin, added, removed)


class ExternalCaller(Caller):
    """The sender of a request that a proxy or an identity provider vouches for."""

    __slots__ = ("_users",)

    def __init__(self, name: str, users: ExternalUsers) -> None:
        super().__init__(name)
        self._users = users

    async def confirm(self, account: Account | None) -> None:
        """Check that the user still exists. The next request makes a deleted user again."""
        if account is None:
            self._users.forget(self.name or "")
            raise Unauthenticated("deleted user")


def check_name(name: str) -> None:
    """Raise Unauthenticated for a name that is empty, too long, or not one line of text."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Unauthenticated("malformed user name")


def _by_name(rows: list[Row]) -> dict[RoleName, int]:
    return {RoleName(workspace, name): id_ for id_, workspace, name in rows}
