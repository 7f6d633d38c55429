"""The roles and the admin flag that groups of a proxy or an identity provider stand for. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.settings.table import Settings

DEFAULT_WORKSPACE: Final = "default"
MAX_GROUPS: Final = 1000  # of one user
LONGEST_GROUP: Final = 255  # characters, the length of a role's name
_SYNTHETIC: Final = re.compile(r"__user_\d+__")


class RoleName(NamedTuple):
    """A role."""

    workspace: str
    name: str


class Groups:
    """The meaning of groups: which roles they give, and which of them make admins.

    Without `roles`, a group gives the role of the same name in the workspace `default`, and a user
    without the group does not keep that role. With `roles` (groups with their roles), only the
    roles named there are given and taken away. Without `admins` the admin flag stays as it is.
    """

    def __init__(
        self,
        roles: Iterable[tuple[str, RoleName]] = (),
        admins: Iterable[str] = (),
    ) -> None:
        self._roles: dict[str, set[RoleName]] = {}
        for group, role in roles:
            self._roles.setdefault(group, set()).add(role)
        self._given = frozenset(role for some in self._roles.values() for role in some)
        self._admins = frozenset(admins)

    def roles(self, groups: Iterable[str]) -> set[RoleName]:
        """The roles of a member of these groups."""
        if not self._roles:
            named = (RoleName(DEFAULT_WORKSPACE, group) for group in groups)
            return {role for role in named if self.decides(role)}
        return {role for group in groups for role in self._roles.get(group, ())}

    def decides(self, role: RoleName) -> bool:
        """Whether groups alone decide who has this role."""
        if self._roles:
            return role in self._given
        # The own grants of a user are in a role with such a name.
        return role.workspace == DEFAULT_WORKSPACE and not _SYNTHETIC.fullmatch(role.name)

    def is_admin(self, groups: Iterable[str]) -> bool | None:
        """Whether a member is an admin; None if groups do not decide that."""
        return not self._admins.isdisjoint(groups) if self._admins else None


def groups_of(settings: Settings) -> Groups:
    """The meaning of groups on a server."""
    roles, admins = settings.auth_group_roles, settings.auth_admin_groups
    return Groups(
        () if roles is None else parse_roles(roles),
        () if admins is None else parse_groups(admins),
    )


def parse_roles(text: str) -> tuple[tuple[str, RoleName], ...]:
    """`GROUP=ROLE` or `GROUP=WORKSPACE/ROLE`, separated by commas. Raises ValueError."""
    return tuple(_parse_pair(part.strip()) for part in text.split(","))


def _parse_pair(part: str) -> tuple[str, RoleName]:
    # The last sign, because LDAP's names of groups contain equals signs.
    group, sign, target = (piece.strip() for piece in part.rpartition("="))
    workspace, slash, name = target.partition("/")
    role = RoleName(workspace, name) if slash else RoleName(DEFAULT_WORKSPACE, target)
    if not (sign and group and role.workspace and role.name):
        raise ValueError(f"'{part}' is not GROUP=ROLE")
    if _SYNTHETIC.fullmatch(role.name):
        raise ValueError(f"'{role.name}' is the name of one user's own grants")
    return group, role


def parse_groups(text: str) -> tuple[str, ...]:
    """The groups in a text that separates them by commas, each once, without empty ones.

    Raises ValueError for more or longer groups than a user may have.
    """
    groups = {part.strip(): None for part in text.split(",") if part.strip()}
    if len(groups) > MAX_GROUPS or any(len(group) > LONGEST_GROUP for group in groups):
        raise ValueError("there are too many groups, or one is too long")
    return tuple(groups)
