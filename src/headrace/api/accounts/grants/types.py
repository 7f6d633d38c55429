"""Requests and answers of the routes of grants. The fields of an answer are in alphabetical order."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from headrace.contract.scalars import Loose, LooseText


class Grant(Loose):
    """POST users/permissions/grant"""

    username: LooseText = UNSET
    resource_type: LooseText = UNSET
    resource_id: LooseText = UNSET
    permission: LooseText = UNSET


class GrantKey(Loose):
    """POST users/permissions/revoke, GET users/permissions/get"""

    username: LooseText = UNSET
    resource_type: LooseText = UNSET
    resource_id: LooseText = UNSET


class HeldPermission(msgspec.Struct, gc=False):
    """A permission of one of a user's roles."""

    permission: str
    resource_pattern: str
    resource_type: str
    role_id: int
    role_name: str
    workspace: str


class HeldPermissions(msgspec.Struct, gc=False):
    """The permissions of a user's roles that the caller may see."""

    is_admin: bool
    permissions: list[HeldPermission]


class EffectivePermission(msgspec.Struct, gc=False):
    """The level of a user on a resource; `allowed`: at least USE."""

    allowed: bool
    permission: str
