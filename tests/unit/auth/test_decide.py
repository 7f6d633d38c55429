"""The model of permissions, by a table and by a direct reading of MLflow's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.auth.access import NOTHING, Scope
from headrace.auth.decide import (
    Defaults,
    Grant,
    Level,
    Step,
    allows,
    is_workspace_admin,
    levels,
    meets,
    readable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.auth.decide import Requirement
    from headrace.auth.rules import Action

ALLOWED = {
    "DENY": "",
    "NO_PERMISSIONS": "undenied",
    "READ": "undenied read",
    "USE": "undenied read use create",
    "EDIT": "undenied read use create update",
    "MANAGE": "undenied read use create update delete manage",
}
ACTIONS: tuple[Action, ...] = ("read", "use", "update", "delete", "manage", "create", "undenied")
LOWEST = Level.NO_PERMISSIONS


@pytest.mark.parametrize("name", ALLOWED)
def test_a_level_allows_the_actions_that_it_includes(name: str) -> None:
    level = Level[name]
    assert [a for a in ACTIONS if allows(level, a, LOWEST)] == [
        a for a in ACTIONS if a in ALLOWED[name].split()
    ]


RUN_OF_1: Requirement = (Step("run", "*", "update"), Step("experiment", "1", "update"))
TABLE = [
    # grants; default; the requirement; whether they meet it
    ("", "READ", (Step("experiment", "1", "read"),), True),
    ("", "READ", (Step("experiment", "1", "update"),), False),
    ("", "NO_PERMISSIONS", (Step("experiment", "1", "read"),), False),
    ("", "DENY", (Step("experiment", "1", "undenied"),), False),
    ("experiment 1 EDIT", "NO_PERMISSIONS", (Step("experiment", "1", "update"),), True),
    ("experiment 1 EDIT", "NO_PERMISSIONS", (Step("experiment", "2", "read"),), False),
    ("experiment * EDIT", "NO_PERMISSIONS", (Step("experiment", "2", "update"),), True),
    # DENY wins in its key, whether it is for the id or for all
    ("experiment * EDIT,experiment 1 DENY", "READ", (Step("experiment", "1", "read"),), False),
    ("experiment * DENY,experiment 1 MANAGE", "READ", (Step("experiment", "1", "read"),), False),
    ("experiment 1 READ,experiment 1 EDIT", "READ", (Step("experiment", "1", "update"),), True),
    # a positive level counts as the default if that is higher; DENY does not
    ("experiment 1 READ", "EDIT", (Step("experiment", "1", "update"),), True),
    ("experiment 1 DENY", "EDIT", (Step("experiment", "1", "read"),), False),
    # the first key with a grant decides, upward and downward
    ("run * READ,experiment 1 EDIT", "NO_PERMISSIONS", RUN_OF_1, False),
    ("run * EDIT,experiment 1 READ", "NO_PERMISSIONS", RUN_OF_1, True),
    ("experiment 1 EDIT", "NO_PERMISSIONS", RUN_OF_1, True),
    ("run * DENY,experiment 1 MANAGE", "READ", RUN_OF_1, False),
    # a step may require another action than the first one
    (
        "experiment 1 EDIT",
        "READ",
        (Step("assessment", "*", "delete"), Step("experiment", "1", "update")),
        True,
    ),
    (
        "assessment * EDIT,experiment 1 EDIT",
        "READ",
        (Step("assessment", "*", "delete"), Step("experiment", "1", "update")),
        False,
    ),
    ("run * READ", "NO_PERMISSIONS", (Step("run", "*", "undenied"),), True),
    ("run * DENY", "MANAGE", (Step("run", "*", "undenied"),), False),
    ("run * SUPER", "MANAGE", (Step("run", "*", "read"),), False),  # a level that is not known
    ("registered_model a EDIT", "NO_PERMISSIONS", (Step("prompt", "a", "read"),), False),
    ("experiment 01 EDIT", "NO_PERMISSIONS", (Step("experiment", "1", "read"),), False),
]


def both(default: str) -> Defaults:
    """The levels of a server without workspaces, where one level is the floor and that without a grant."""
    return Defaults(Level[default], Level[default])


def grants_of(text: str) -> list[Grant]:
    return [Grant(*part.split()) for part in text.split(",") if part]


@pytest.mark.parametrize(("text", "default", "requirement", "met"), TABLE)
def test_grants_meet_a_requirement(
    text: str, default: str, requirement: Requirement, met: bool
) -> None:
    assert meets(requirement, levels(grants_of(text)), both(default)) is met


CLOSED = Defaults(Level.EDIT, Level.NO_PERMISSIONS)  # of a server with workspaces


@pytest.mark.parametrize(
    ("text", "step", "met"),
    [
        ("", Step("experiment", "1", "read"), False),
        ("", Step("run", "*", "undenied"), True),
        ("experiment 1 READ", Step("experiment", "1", "update"), True),  # raised to the floor
        ("experiment 1 READ", Step("experiment", "2", "read"), False),
        ("", Step("workspace", "*", "create"), False),
        ("workspace * USE", Step("workspace", "*", "create"), True),
        ("workspace * USE", Step("workspace", "*", "update"), False),  # not raised
        ("workspace * MANAGE", Step("workspace", "*", "manage"), True),
        ("experiment * MANAGE", Step("workspace", "*", "create"), False),
    ],
)
def test_in_a_workspace_nothing_is_allowed_without_a_grant(
    text: str, step: Step, met: bool
) -> None:
    assert meets((step,), levels(grants_of(text)), CLOSED) is met


def test_a_member_of_a_workspace_finds_what_no_grant_denies() -> None:
    assert readable({}, None, CLOSED) == NOTHING
    assert readable({}, Level.USE, CLOSED) is None
    assert readable({"DENY": ["1"]}, Level.USE, CLOSED) == Scope(frozenset("1"), only=False)
    assert readable({"READ": ["1"]}, None, CLOSED) == Scope(frozenset("1"), only=True)


def test_only_manage_on_the_workspace_makes_an_admin_of_it() -> None:
    assert is_workspace_admin(grants_of("experiment 1 DENY,workspace * MANAGE"))
    for text in ("workspace * USE", "workspace default MANAGE", "experiment * MANAGE", ""):
        assert not is_workspace_admin(grants_of(text))


# A direct reading of MLflow's rules: the position of a level in this list is its strength.
STRENGTH = ["DENY", "NO_PERMISSIONS", "READ", "USE", "EDIT", "MANAGE"]
TYPES = ("run", "experiment", "workspace")
grant = st.builds(
    Grant, st.sampled_from(TYPES), st.sampled_from(("*", "1", "2")), st.sampled_from(STRENGTH)
)
step = st.builds(
    Step, st.sampled_from(TYPES), st.sampled_from(("*", "1", "2")), st.sampled_from(ACTIONS)
)


def spelled_out(requirement: Requirement, grants: Sequence[Grant], default: str) -> bool:
    action: Action
    for resource_type, id_, action in requirement:
        names = [
            name
            for type_, pattern, name in grants
            if type_ == resource_type and pattern in ("*", id_)
        ]
        if not names:
            continue
        if "DENY" in names:
            return False
        best = max(names, key=STRENGTH.index)
        if best != "NO_PERMISSIONS" and resource_type != "workspace":
            best = max(best, default, key=STRENGTH.index)
        return action in ALLOWED[best].split()
    action = requirement[-1].action
    return action in ALLOWED[default].split()


@given(
    st.lists(step, min_size=1, max_size=3), st.lists(grant, max_size=6), st.sampled_from(STRENGTH)
)
def test_every_decision_is_that_of_the_rules(
    steps: list[Step], grants: list[Grant], default: str
) -> None:
    requirement = tuple(steps)
    found = meets(requirement, levels(grants), both(default))
    assert found is spelled_out(requirement, grants, default)


@given(
    st.lists(grant.filter(lambda g: g.resource_type != "run"), max_size=6),
    st.sampled_from(STRENGTH),
)
def test_a_search_finds_the_rows_that_the_rules_allow(grants: list[Grant], default: str) -> None:
    patterns: dict[str, list[str]] = {}
    for type_, pattern, name in grants:
        if type_ == "experiment":
            patterns.setdefault(name, []).append(pattern)
    workspace = levels(grants).get(("workspace", "*"))
    scope = readable(patterns, workspace, both(default))
    for id_ in ("1", "2", "3"):
        requirement = (Step("experiment", id_, "read"), Step("workspace", "*", "read"))
        assert (scope is None or scope.admits(id_)) is spelled_out(requirement, grants, default)


@pytest.mark.parametrize(
    ("patterns", "default", "scope"),
    [
        ({}, "READ", None),
        ({}, "NO_PERMISSIONS", NOTHING),
        ({"READ": ["1", "2"]}, "NO_PERMISSIONS", Scope(frozenset("12"), only=True)),
        ({"READ": ["1", "2"], "DENY": ["1"]}, "NO_PERMISSIONS", Scope(frozenset("2"), only=True)),
        ({"DENY": ["1"]}, "READ", Scope(frozenset("1"), only=False)),
        ({"EDIT": ["*"], "DENY": ["1"]}, "NO_PERMISSIONS", Scope(frozenset("1"), only=False)),
        ({"DENY": ["*"], "MANAGE": ["1"]}, "READ", NOTHING),
    ],
)
def test_the_rows_of_a_search(
    patterns: dict[str, list[str]], default: str, scope: Scope | None
) -> None:
    assert readable(patterns, None, both(default)) == scope
