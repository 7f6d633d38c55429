"""Requests and answers of the routes of roles. The fields of an answer are in alphabetical order."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from headrace.contract.scalars import Loose, LooseInt, LooseOptionalText, LooseText


class CreateRole(Loose):
    """POST roles/create"""

    name: LooseText = UNSET
    workspace: LooseText = UNSET
    description: LooseOptionalText = None


class RoleId(Loose):
    """A request about one role"""

    role_id: LooseInt = UNSET


class ListRoles(Loose):
    """GET roles/list; the parameter may be repeated"""

    workspace: list[str] = msgspec.field(default_factory=list)


class UpdateRole(Loose):
    """PATCH roles/update"""

    role_id: LooseInt = UNSET
    name: LooseOptionalText = None
    description: LooseOptionalText = None


class AddPermission(Loose):
    """POST roles/permissions/add"""

    role_id: LooseInt = UNSET
    resource_type: LooseText = UNSET
    resource_pattern: LooseText = UNSET
    permission: LooseText = UNSET


class PermissionId(Loose):
    """DELETE roles/permissions/remove"""

    role_permission_id: LooseInt = UNSET


class UpdatePermission(Loose):
    """PATCH roles/permissions/update"""

    role_permission_id: LooseInt = UNSET
    permission: LooseText = UNSET


class Assignee(Loose):
    """POST roles/assign, DELETE roles/unassign"""

    username: LooseText = UNSET
    role_id: LooseInt = UNSET


class RolePermission(msgspec.Struct, gc=False):
    """A permission of a role on a resource, or on all of a type (`*`)."""

    id: int
    permission: str
    resource_pattern: str
    resource_type: str
    role_id: int


class Role(msgspec.Struct, gc=False):
    """A role with its permissions."""

    description: str | None
    id: int
    name: str
    permissions: list[RolePermission]
    workspace: str


class RoleAnswer(msgspec.Struct, gc=False):
    """One role."""

    role: Role


class RoleList(msgspec.Struct, gc=False):
    """Roles in the order of their creation."""

    roles: list[Role]


class PermissionAnswer(msgspec.Struct, gc=False):
    """One permission."""

    role_permission: RolePermission


class PermissionList(msgspec.Struct, gc=False):
    """The permissions of a role."""

    role_permissions: list[RolePermission]


class Assignment(msgspec.Struct, gc=False):
    """The fact that a user has a role."""

    id: int
    role_id: int
    user_id: int


class AssignmentAnswer(msgspec.Struct, gc=False):
    """One assignment."""

    assignment: Assignment


class AssignmentList(msgspec.Struct, gc=False):
    """The assignments of a role."""

    assignments: list[Assignment]
