"""Whether the grants of a caller meet the conditions of a request. No I/O.

The model is that of MLflow's basic-auth app. A grant has a resource type, a pattern (an id or `*`)
and a level. A key is a type and an id; the grants of a key are those of its type whose pattern is
its id or `*`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.auth.access import NOTHING, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from headrace.auth.rules import Action

WILDCARD: Final = "*"
WORKSPACE: Final = "workspace"
# The type of a step that no grant matches: only `default_permission` decides.
DEFAULT: Final = "default_permission"


class Level(IntEnum):
    """The levels of grants, lowest first. A name that is not known allows nothing."""

    DENY = -1  # wins over every other grant of its key
    NO_PERMISSIONS = 0
    READ = 1
    USE = 2
    EDIT = 3
    MANAGE = 4


# The lowest level that allows an action.
_LOWEST: Final[Mapping[Action, Level]] = {
    "read": Level.READ,
    "use": Level.USE,
    "create": Level.USE,
    "update": Level.EDIT,
    "delete": Level.MANAGE,
    "manage": Level.MANAGE,
    "undenied": Level.NO_PERMISSIONS,
}


class Defaults(NamedTuple):
    """The levels that apply besides those of grants."""

    floor: Level  # a positive level counts as this one if this is higher
    absent: Level  # of a resource without any grant


class Grant(NamedTuple):
    """A grant of one of the caller's roles."""

    resource_type: str
    pattern: str
    permission: str


_WORKSPACE_ADMIN: Final = Grant(WORKSPACE, WILDCARD, "MANAGE")


class Step(NamedTuple):
    """A key, and the action that its grants must allow."""

    resource_type: str
    id: str
    action: Action


# The first step whose key has a grant decides; if none has, the default level must allow the action
# of the last one.
Chain = tuple[Step, ...]


class Either(NamedTuple):
    """Chains of steps of which one must be met."""

    chains: tuple[Chain, ...]


Requirement = Chain | Either


def level_of(permission: str) -> Level:
    """The level with this name."""
    return Level.__members__.get(permission, Level.NO_PERMISSIONS)


def is_workspace_admin(grants: Sequence[Grant]) -> bool:
    """Whether a grant makes the caller an admin of the workspace, whom no grant restricts."""
    return _WORKSPACE_ADMIN in grants


def levels(grants: Iterable[Grant]) -> dict[tuple[str, str], Level]:
    """The level of each type and pattern: DENY if there is one, else the highest."""
    found: dict[tuple[str, str], Level] = {}
    for resource_type, pattern, permission in grants:
        key, level = (resource_type, pattern), level_of(permission)
        known = found.get(key)
        found[key] = level if known is None else folded(known, level)
    return found


def folded(one: Level, other: Level) -> Level:
    """The level of two grants of one key: DENY if there is one, else the higher."""
    lower = min(one, other)
    return lower if lower is Level.DENY else max(one, other)


def level_at(found: Mapping[tuple[str, str], Level], resource_type: str, id_: str) -> Level | None:
    """The level of a key, None without a grant; `found` is from `levels`."""
    general = found.get((resource_type, WILDCARD))
    special = found.get((resource_type, id_)) if id_ != WILDCARD else None
    if general is None or special is None:
        return special if general is None else general
    return folded(general, special)


def allows(level: Level, action: Action, floor: Level = Level.NO_PERMISSIONS) -> bool:
    """Whether a level allows an action. A positive level counts as `floor` if that is higher."""
    if level > Level.NO_PERMISSIONS:
        level = max(level, floor)
    return level >= _LOWEST[action]


def chains(requirement: Requirement) -> tuple[Chain, ...]:
    """The chains of steps of which one must be met."""
    return requirement.chains if isinstance(requirement, Either) else (requirement,)


def meets(
    requirement: Requirement, found: Mapping[tuple[str, str], Level], defaults: Defaults
) -> bool:
    """Whether grants (`levels`) meet a requirement."""
    return any(_meets(chain, found, defaults) for chain in chains(requirement))


def _meets(chain: Chain, found: Mapping[tuple[str, str], Level], defaults: Defaults) -> bool:
    for resource_type, id_, action in chain:
        level = level_at(found, resource_type, id_)
        if level is not None:
            # The floor applies to resources, not to the workspace.
            return allows(
                level,
                action,
                Level.NO_PERMISSIONS if resource_type == WORKSPACE else defaults.floor,
            )
    return allows(defaults.absent, chain[-1].action, defaults.floor)


class Plan:
    """The requirements of a request, all of which must be met. Equal to itself only."""

    __slots__ = ("creators", "requirements")

    def __init__(
        self, requirements: tuple[Requirement, ...] = (), creators: frozenset[str] = frozenset()
    ) -> None:
        """`creators`: the users to whom belongs what must be the caller's own."""
        self.requirements = requirements
        self.creators = creators

    def is_own(self, username: str) -> bool:
        """Whether everything that must be the caller's own is."""
        return not self.creators or self.creators == {username}

    def is_met(
        self, found: Mapping[tuple[str, str], Level], defaults: Defaults, *, everything: bool
    ) -> bool:
        """Whether grants (`levels`) meet all. `everything`: the caller is an admin of the workspace."""
        return all(
            (everything and chains(requirement)[0][0].resource_type != DEFAULT)
            or meets(requirement, found, defaults)
            for requirement in self.requirements
        )


NO_REQUIREMENTS: Final = Plan()


def readable(
    patterns: Mapping[str, Sequence[str]],
    workspace: Level | None,
    defaults: Defaults,
) -> Scope | None:
    """The rows of a type that the caller may read in a search; None for all.

    `patterns` are those of the caller's grants of the type, by permission. Without a grant for a
    row, the grant for the workspace decides, and without that `defaults.absent`.
    """
    # Without loops over patterns: a caller may have 50,000, and this runs on the event loop.
    denied = _with(patterns, lambda level: level is Level.DENY)
    if WILDCARD in denied:
        return NOTHING
    granted = _with(patterns, lambda level: level >= Level.READ)
    powerless = _with(patterns, lambda level: level is Level.NO_PERMISSIONS)
    if WILDCARD in granted:
        excluded = denied
    elif WILDCARD in powerless:
        return Scope(granted - denied if denied else granted, only=True)
    elif allows(defaults.absent if workspace is None else workspace, "read", defaults.floor):
        excluded = denied | (powerless - granted)
    else:
        return Scope(granted - denied if denied else granted, only=True)
    return Scope(excluded, only=False) if excluded else None


def _with(
    patterns: Mapping[str, Sequence[str]], selects: Callable[[Level], bool]
) -> frozenset[str]:
    """The patterns of the grants whose level is selected."""
    chosen = (some for permission, some in patterns.items() if selects(level_of(permission)))
    return frozenset[str]().union(*chosen)
