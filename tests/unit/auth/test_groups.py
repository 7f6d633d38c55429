"""The meaning of groups: roles of the same name, or those of a mapping; other roles are left alone."""

from __future__ import annotations

import pytest

from headrace.auth.groups import Groups, RoleName, parse_groups, parse_roles


def test_a_group_gives_the_role_of_its_name_in_the_default_workspace() -> None:
    groups = Groups()
    assert groups.roles(["team-a", "b/c"]) == {
        RoleName("default", "team-a"),
        RoleName("default", "b/c"),
    }
    assert groups.decides(RoleName("default", "anything"))
    assert not groups.decides(RoleName("elsewhere", "anything"))


def test_no_group_gives_or_takes_the_own_grants_of_a_user() -> None:
    groups = Groups()
    assert groups.roles(["__user_1__"]) == set()
    assert not groups.decides(RoleName("default", "__user_12__"))


def test_with_a_mapping_only_its_roles_are_given_and_taken() -> None:
    groups = Groups(parse_roles("ml=editors, ml=w1/readers,cn=it,dc=x=admins"))
    assert groups.roles(["ml", "editors"]) == {
        RoleName("default", "editors"),
        RoleName("w1", "readers"),
    }
    assert groups.roles(["cn=it"]) == set()
    assert groups.decides(RoleName("w1", "readers"))
    assert not groups.decides(RoleName("w1", "editors"))
    assert not groups.decides(RoleName("default", "by hand"))


def test_equals_signs_belong_to_the_group() -> None:
    assert parse_roles("cn=it=admins") == (("cn=it", RoleName("default", "admins")),)


@pytest.mark.parametrize(
    "text", ["", "a", "a=", "=b", "a=/b", "a=w/", "a=b,", "a=__user_1__", "a=w/__user_1__"]
)
def test_malformed_mappings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"GROUP=ROLE|own grants"):
        parse_roles(text)


def test_admin_groups_decide_the_flag_only_if_there_are_some() -> None:
    assert Groups().is_admin(["admins"]) is None
    groups = Groups(admins=["admins", "root"])
    assert groups.is_admin(["x", "root"]) is True
    assert groups.is_admin(["Admins"]) is False
    assert groups.is_admin([]) is False


def test_groups_are_separated_by_commas() -> None:
    assert parse_groups(" a ,b,,a, c d ,") == ("a", "b", "c d")
    assert parse_groups("") == ()
    for text in ("x" * 256, ",".join(map(str, range(1001)))):
        with pytest.raises(ValueError, match="too many"):
            parse_groups(text)
