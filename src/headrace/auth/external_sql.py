"""Statements on users who log in at a proxy or an identity provider."""

from __future__ import annotations

from typing import Final

from headrace.db.sql import Sql

# (id, is_admin) of a user; the lock makes simultaneous logins of the user follow each other.
_USER: Final = "SELECT id, coalesce(is_admin, false) FROM users WHERE username = $1"
FIND_USER: Final = Sql(_USER)
LOCK_USER: Final = Sql(_USER + " {for update}")
ADD_USER: Final = Sql(
    "INSERT INTO users (username, password_hash, is_admin) VALUES ($1, $2, false)"
    " ON CONFLICT DO NOTHING"
)
SET_ADMIN: Final = Sql("UPDATE users SET is_admin = $2 WHERE id = $1")
# (id, workspace, name) of the roles with these names in these workspaces; of the user's roles.
_ROLES: Final = (
    "SELECT id, workspace, name FROM roles WHERE name {in $1 text} AND workspace {in $2 text}"
)
ROLES: Final = Sql(_ROLES)
HOLD_ROLES: Final = Sql(_ROLES + " {for share}")
HELD: Final = Sql(
    "SELECT r.id, r.workspace, r.name FROM user_role_assignments AS a"
    " JOIN roles AS r ON r.id = a.role_id WHERE a.user_id = $1 ORDER BY r.id LIMIT $2"
)
ASSIGN: Final = Sql(
    "INSERT INTO user_role_assignments (user_id, role_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
)
UNASSIGN: Final = Sql(
    "DELETE FROM user_role_assignments WHERE user_id = $1 AND role_id {in $2 int}"
)
