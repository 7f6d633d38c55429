"""Statements on users, roles and grants. The lists are read in pages by key."""

from __future__ import annotations

from typing import Final

from headrace.db.schema.auth import DEAD
from headrace.db.sql import Sql

# Names of the roles that hold the grants of one user: `__user_<id>__`. An admin cannot make these names.
_IS_SYNTHETIC_POSTGRES: Final = "name ~ '^__user_[0-9]+__$'"
_IS_SYNTHETIC_SQLITE: Final = (
    "name GLOB '__user_[0-9]*__' AND substr(name, 8, length(name) - 9) NOT GLOB '*[^0-9]*'"
)

# Rows of `users.User`.
_USER: Final = "id, username, coalesce(is_admin, false), coalesce(password_hash, '')"
USER: Final = Sql(f"SELECT {_USER} FROM users WHERE username = $1")
USER_BY_ID: Final = Sql(f"SELECT {_USER} FROM users WHERE id = $1")
USERS: Final = Sql(
    f"SELECT {_USER} FROM users WHERE id > $1 AND username IS NOT NULL ORDER BY id LIMIT $2"
)
NEW_USER: Final = Sql(
    "INSERT INTO users (username, password_hash, is_admin) VALUES ($1, $2, $3)"
    f" ON CONFLICT DO NOTHING RETURNING {_USER}"
)
SET_PASSWORD: Final = Sql(
    f"UPDATE users SET password_hash = $2 WHERE username = $1 RETURNING {_USER}"
)
# (username, the hash that was checked, the new one)
REPLACE_PASSWORD: Final = Sql(
    "UPDATE users SET password_hash = $3 WHERE username = $1 AND password_hash = $2"
)
SET_ADMIN: Final = Sql(f"UPDATE users SET is_admin = $2 WHERE username = $1 RETURNING {_USER}")
# (id). The lock keeps the user until the transaction ends.
HOLD_USER: Final = Sql("SELECT id FROM users WHERE id = $1 {for share}")
HOLD_USER_BY_NAME: Final = Sql(f"SELECT {_USER} FROM users WHERE username = $1 {{for share}}")
LOCK_USER: Final = Sql(f"SELECT {_USER} FROM users WHERE username = $1 {{for delete}}")
DELETE_USER: Final = Sql("DELETE FROM users WHERE id = $1")
DELETE_DEAD: Final = {table: Sql(f"DELETE FROM {table} WHERE user_id = $1") for table in DEAD}
UNASSIGN_USER: Final = Sql("DELETE FROM user_role_assignments WHERE user_id = $1")
LOCK_ROLES_IN: Final = Sql("SELECT id FROM roles WHERE workspace = $1 {for delete}")
# (id) of the roles with that name in all workspaces.
LOCK_NAMED_ROLES: Final = Sql("SELECT id FROM roles WHERE name = $1 {for delete}")

# Rows of `roles.Role`.
_ROLE: Final = "id, name, workspace, description"
ROLE: Final = Sql(f"SELECT {_ROLE} FROM roles WHERE id = $1")
HOLD_ROLE: Final = Sql(f"SELECT {_ROLE} FROM roles WHERE id = $1 {{for share}}")
CHANGE_ROLE: Final = Sql(f"SELECT {_ROLE} FROM roles WHERE id = $1 {{for update}}")
LOCK_ROLE: Final = Sql(f"SELECT {_ROLE} FROM roles WHERE id = $1 {{for delete}}")
ROLE_BY_NAME: Final = Sql(f"SELECT {_ROLE} FROM roles WHERE workspace = $1 AND name = $2")
ROLES: Final = Sql(f"SELECT {_ROLE} FROM roles WHERE id > $1 ORDER BY id LIMIT $2")
ROLES_IN: Final = Sql(
    f"SELECT {_ROLE} FROM roles WHERE workspace {{in $1 text}} AND id > $2 ORDER BY id LIMIT $3"
)
# Roles of users, with the user's id before each: `roles.Held`.
ROLES_OF: Final = Sql(
    "SELECT a.user_id, a.id, r.id, r.name, r.workspace, r.description"
    " FROM user_role_assignments AS a JOIN roles AS r ON r.id = a.role_id"
    " WHERE a.user_id {in $1 int} AND (a.user_id > $2 OR a.user_id = $2 AND a.id > $3)"
    " ORDER BY a.user_id, a.id LIMIT $4"
)
NEW_ROLE: Final = Sql(
    "INSERT INTO roles (name, workspace, description) VALUES ($1, $2, $3)"
    f" ON CONFLICT DO NOTHING RETURNING {_ROLE}"
)
UPDATE_ROLE: Final = Sql(
    f"UPDATE roles SET name = $2, description = $3 WHERE id = $1 RETURNING {_ROLE}"
)
EMPTY_ROLES: Final = (
    Sql("DELETE FROM role_permissions WHERE role_id {in $1 int}"),
    Sql("DELETE FROM user_role_assignments WHERE role_id {in $1 int}"),
    Sql("DELETE FROM roles WHERE id {in $1 int}"),
)

# Rows of `roles.Permission`.
_PERMISSION: Final = "id, role_id, resource_type, resource_pattern, permission"
PERMISSION: Final = Sql(f"SELECT {_PERMISSION} FROM role_permissions WHERE id = $1")
CHANGE_PERMISSION: Final = Sql(
    f"SELECT {_PERMISSION} FROM role_permissions WHERE id = $1 {{for update}}"
)
PERMISSION_ON: Final = Sql(
    f"SELECT {_PERMISSION} FROM role_permissions"
    " WHERE role_id = $1 AND resource_type = $2 AND resource_pattern = $3"
)
PERMISSIONS_OF: Final = Sql(
    f"SELECT {_PERMISSION} FROM role_permissions WHERE role_id {{in $1 int}}"
    " AND (role_id > $2 OR role_id = $2 AND id > $3) ORDER BY role_id, id LIMIT $4"
)
NEW_PERMISSION: Final = Sql(
    "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)"
    f" VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING {_PERMISSION}"
)
SET_PERMISSION: Final = Sql(
    f"UPDATE role_permissions SET permission = $2 WHERE id = $1 RETURNING {_PERMISSION}"
)
REPLACE_PERMISSION: Final = Sql(
    "UPDATE role_permissions SET permission = $4"
    " WHERE role_id = $1 AND resource_type = $2 AND resource_pattern = $3"
)
DELETE_PERMISSION: Final = Sql("DELETE FROM role_permissions WHERE id = $1")
DELETE_PERMISSION_ON: Final = Sql(
    "DELETE FROM role_permissions"
    " WHERE role_id = $1 AND resource_type = $2 AND resource_pattern = $3"
)

# Rows of `roles.Assignment`.
_ASSIGNMENT: Final = "id, user_id, role_id"
ASSIGNMENT: Final = Sql(
    f"SELECT {_ASSIGNMENT} FROM user_role_assignments WHERE user_id = $1 AND role_id = $2"
)
ASSIGNMENTS_OF: Final = Sql(
    f"SELECT {_ASSIGNMENT} FROM user_role_assignments WHERE role_id = $1 AND id > $2"
    " ORDER BY id LIMIT $3"
)
ASSIGN: Final = Sql(
    "INSERT INTO user_role_assignments (user_id, role_id) VALUES ($1, $2)"
    f" ON CONFLICT DO NOTHING RETURNING {_ASSIGNMENT}"
)
UNASSIGN: Final = Sql("DELETE FROM user_role_assignments WHERE user_id = $1 AND role_id = $2")

# (workspace) where a role of the user has `workspace/*/MANAGE`; (workspace) of all his roles.
ADMINISTERED: Final = Sql(
    "SELECT DISTINCT r.workspace FROM user_role_assignments AS a"
    " JOIN roles AS r ON r.id = a.role_id JOIN role_permissions AS p ON p.role_id = r.id"
    " WHERE a.user_id = $1 AND p.resource_type = 'workspace' AND p.resource_pattern = '*'"
    " AND p.permission = 'MANAGE' LIMIT $2"
)
PRESENT: Final = Sql(
    "SELECT DISTINCT r.workspace FROM user_role_assignments AS a"
    " JOIN roles AS r ON r.id = a.role_id WHERE a.user_id = $1 LIMIT $2"
)

# (workspace) where the user has a role that an admin made, or a grant on the workspace.
_ACCESSIBLE: Final = """
    SELECT DISTINCT workspace FROM user_role_assignments AS a JOIN roles AS r ON r.id = a.role_id
    WHERE a.user_id = $1 AND (NOT ({own}) OR EXISTS (
        SELECT 1 FROM role_permissions AS p WHERE p.role_id = r.id
        AND p.resource_type = 'workspace' AND p.resource_pattern = '*'
        AND p.permission IN ('READ', 'USE', 'EDIT', 'MANAGE')))
    LIMIT $2"""
ACCESSIBLE: Final = Sql(
    postgres=_ACCESSIBLE.format(own=_IS_SYNTHETIC_POSTGRES),
    sqlite=_ACCESSIBLE.format(own=_IS_SYNTHETIC_SQLITE),
)

# (id, the assignment of the user $3, another user with the role). The lock keeps the role.
SYNTHETIC_ROLE: Final = Sql("""
    SELECT r.id,
           (SELECT id FROM user_role_assignments WHERE role_id = r.id AND user_id = $3),
           (SELECT min(user_id) FROM user_role_assignments WHERE role_id = r.id AND user_id <> $3)
    FROM roles AS r WHERE r.workspace = $1 AND r.name = $2 {for share}""")
_MINE: Final = "SELECT id FROM roles WHERE (CAST($3 AS varchar) IS NULL OR workspace = $3)"
_ON: Final = "resource_type = $1 AND resource_pattern = $2"
# Of one resource, on the synthetic roles of a workspace (null: of all).
DELETE_GRANTS: Final = Sql(
    postgres=f"DELETE FROM role_permissions WHERE {_ON}"
    f" AND role_id IN ({_MINE} AND {_IS_SYNTHETIC_POSTGRES})",
    sqlite=f"DELETE FROM role_permissions WHERE {_ON}"
    f" AND role_id IN ({_MINE} AND {_IS_SYNTHETIC_SQLITE})",
)
# Of the roles that also have a grant on the new name $4.
_ON_NEW: Final = "resource_type = $1 AND resource_pattern = $4"
DELETE_REPLACED: Final = Sql(
    postgres=f"DELETE FROM role_permissions WHERE {_ON}"
    f" AND role_id IN ({_MINE} AND {_IS_SYNTHETIC_POSTGRES})"
    f" AND role_id IN (SELECT role_id FROM role_permissions WHERE {_ON_NEW})",
    sqlite=f"DELETE FROM role_permissions WHERE {_ON}"
    f" AND role_id IN ({_MINE} AND {_IS_SYNTHETIC_SQLITE})"
    f" AND role_id IN (SELECT role_id FROM role_permissions WHERE {_ON_NEW})",
)
RENAME_GRANTS: Final = Sql(
    postgres=f"UPDATE role_permissions SET resource_pattern = $4 WHERE {_ON}"
    f" AND role_id IN ({_MINE} AND {_IS_SYNTHETIC_POSTGRES})",
    sqlite=f"UPDATE role_permissions SET resource_pattern = $4 WHERE {_ON}"
    f" AND role_id IN ({_MINE} AND {_IS_SYNTHETIC_SQLITE})",
)
# (own, user or role, resource_type, resource_pattern, permission) of the grants of the types $1 in a
# workspace that prevent a rename: of roles on the old name $2 or the new $3, of users on the new.
_IN_THE_WAY: Final = """
    SELECT {own} AS own,
           coalesce((SELECT min(u.username) FROM user_role_assignments AS a
                     JOIN users AS u ON u.id = a.user_id WHERE a.role_id = r.id AND {own}),
                    name) AS holder,
           p.resource_type, p.resource_pattern, p.permission
    FROM roles AS r JOIN role_permissions AS p ON p.role_id = r.id
    WHERE r.workspace = $4 AND p.resource_type {{in $1 text}}
      AND p.resource_pattern IN ($2, $3) AND p.resource_pattern <> '*'
      AND (p.resource_pattern <> $2 OR NOT {own})
    ORDER BY own, holder, p.resource_type, p.resource_pattern LIMIT $5"""
IN_THE_WAY: Final = Sql(
    postgres=_IN_THE_WAY.format(own=f"({_IS_SYNTHETIC_POSTGRES})"),
    sqlite=_IN_THE_WAY.format(own=f"({_IS_SYNTHETIC_SQLITE})"),
)
# SQLite finds the rows by the index of each role.
DELETE_ON_EXPERIMENT: Final = Sql(
    "DELETE FROM role_permissions WHERE role_id IN (SELECT id FROM roles)"
    " AND resource_type = 'experiment' AND resource_pattern = $1"
)
DELETE_ON_SCORERS: Final = Sql(
    "DELETE FROM role_permissions WHERE role_id IN (SELECT id FROM roles)"
    " AND resource_type = 'scorer' AND resource_pattern LIKE $1"
)
# (resource_type, resource_pattern, permission), without duplicates: the grants of the user $1 in a
# workspace on a resource, on its whole type, and on the workspace.
GRANTS_ON: Final = Sql("""
    SELECT DISTINCT p.resource_type, p.resource_pattern, p.permission
    FROM user_role_assignments AS a JOIN roles AS r ON r.id = a.role_id
    JOIN role_permissions AS p ON p.role_id = r.id
    WHERE a.user_id = $1 AND r.workspace = $2
      AND (p.resource_type = $3 AND p.resource_pattern IN ('*', $4)
           OR p.resource_type = 'workspace' AND p.resource_pattern = '*')""")
