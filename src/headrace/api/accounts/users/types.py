"""Requests and answers of the routes of users. The fields of an answer are in alphabetical order."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from headrace.api.accounts.roles.types import Role
from headrace.contract.scalars import Loose, LooseBool, LooseOptionalText, LooseText


class Nothing(Loose):
    """A request without fields"""


class CreateUser(Loose):
    """POST users/create"""

    username: LooseText = UNSET
    password: LooseText = UNSET


class Username(Loose):
    """A request about one user"""

    username: LooseText = UNSET


class UpdatePassword(Loose):
    """PATCH users/update-password; `current_password` is for one's own password"""

    username: LooseText = UNSET
    password: LooseText = UNSET
    current_password: LooseOptionalText = None


class UpdateAdmin(Loose):
    """PATCH users/update-admin"""

    username: LooseText = UNSET
    is_admin: LooseBool = UNSET


class User(msgspec.Struct, gc=False):
    """A user."""

    id: int
    is_admin: bool
    username: str


class UserAnswer(msgspec.Struct, gc=False):
    """One user."""

    user: User


class CurrentUser(msgspec.Struct, gc=False):
    """The caller. `is_basic_auth`: the request had a password, so the page offers to change it."""

    is_basic_auth: bool
    user: User


class UserWithRoles(msgspec.Struct, gc=False):
    """A user with the roles that the caller may see."""

    id: int
    is_admin: bool
    roles: list[Role]
    username: str


class UserList(msgspec.Struct, gc=False):
    """Every user."""

    users: list[UserWithRoles]


class UserRoleList(msgspec.Struct, gc=False):
    """The roles of a user that the caller may see."""

    roles: list[Role]
