"""SQL for one read of users: their rows, and their grants.

Most users have few grants, all of which are read, as one value of the row. Of the others only the
grants that a request needs are read, by their keys.

Grants of all roles count. Without workspaces every role that counts is in the workspace `default`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from headrace.auth.decide import Grant
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Collection

    from headrace.db.base import Row, Tx

# A user with more grants than this is read by keys.
MAX_WHOLE: Final = 64
_GRANT: Final = "SELECT resource_type, resource_pattern, permission FROM role_permissions"
# (id, username, is_admin, password_hash, resource_type, resource_pattern, permission) for each
# grant of users, with NULL for a user without any. ORDER BY, LIMIT and OFFSET 0 make PostgreSQL
# read the roles of each user and the grants of each role by their indexes, and end early. An
# aggregate of grants would cost it 5 us more per user.
_WHOLE: Final = (
    "SELECT u.id, u.username, u.is_admin, u.password_hash, {columns} FROM users u {grants}"
    " WHERE u.username {{in $1 text}}"
)
WHOLE = Sql(
    postgres=_WHOLE.format(
        columns="g.resource_type, g.resource_pattern, g.permission",
        grants="LEFT JOIN LATERAL (SELECT p.* FROM user_role_assignments a"
        " CROSS JOIN LATERAL (SELECT id FROM roles"
        " WHERE id = a.role_id AND workspace = {workspace} OFFSET 0) r"
        f" CROSS JOIN LATERAL ({_GRANT} WHERE role_id = r.id"
        f" ORDER BY resource_type, resource_pattern LIMIT {MAX_WHOLE + 1}) p"
        f" WHERE a.user_id = u.id LIMIT {MAX_WHOLE + 1}) g ON true",
    ),
    sqlite=_WHOLE.format(
        columns="p.resource_type, p.resource_pattern, p.permission",
        grants="LEFT JOIN role_permissions p ON p.id IN (SELECT q.id FROM user_role_assignments a"
        " CROSS JOIN roles r ON r.id = a.role_id AND r.workspace = {workspace}"
        " CROSS JOIN role_permissions q ON q.role_id = r.id"
        f" WHERE a.user_id = u.id LIMIT {MAX_WHOLE + 1})",
    ),
)
# First the users, then the grants of the keys (user name, type, pattern), in one round trip. The
# order of the joins and OFFSET 0 make both planners find each key in the unique index (role_id,
# resource_type, resource_pattern): a user may have 50,000 grants, and a role 50,000 users.
_USERS: Final = (
    "SELECT id, username, is_admin, password_hash, NULL, NULL, NULL FROM users"
    " WHERE username {in $1 text} UNION ALL"
    " SELECT NULL, u.username, NULL, NULL, p.resource_type, p.resource_pattern, p.permission"
)
USERS = Sql(
    postgres=_USERS
    + " FROM unnest($2::varchar[], $3::varchar[], $4::varchar[]) k (name, type, pattern)"
    " CROSS JOIN LATERAL (SELECT id, username FROM users WHERE username = k.name OFFSET 0) u"
    " JOIN user_role_assignments a ON a.user_id = u.id"
    " JOIN roles r ON r.id = a.role_id AND r.workspace = {workspace}"
    f" CROSS JOIN LATERAL ({_GRANT} WHERE role_id = r.id AND resource_type = k.type"
    " AND resource_pattern = k.pattern OFFSET 0) p",
    sqlite=_USERS + " FROM json_each($2) k"
    " CROSS JOIN users u ON u.username = json_extract(k.value, '$[0]')"
    " CROSS JOIN user_role_assignments a ON a.user_id = u.id"
    " CROSS JOIN roles r ON r.id = a.role_id AND r.workspace = {workspace}"
    " CROSS JOIN role_permissions p ON p.role_id = r.id"
    " AND p.resource_type = json_extract(k.value, '$[1]')"
    " AND p.resource_pattern = json_extract(k.value, '$[2]')",
)
_OF_TYPES: Final = (
    " FROM users u JOIN user_role_assignments a ON a.user_id = u.id"
    " JOIN roles r ON r.id = a.role_id AND r.workspace = {workspace}"
    " JOIN role_permissions p ON p.role_id = r.id AND p.resource_type {in $2 text}"
    " WHERE u.username = $1 GROUP BY p.resource_type, p.permission"
)
# One row for each type and permission, because a user may have thousands of grants.
PATTERNS = Sql(
    postgres="SELECT p.resource_type, p.permission, array_agg(p.resource_pattern)" + _OF_TYPES,
    sqlite="SELECT p.resource_type, p.permission, json_group_array(p.resource_pattern)" + _OF_TYPES,
)
_TEXTS: Final = msgspec.json.Decoder(list[str])


class UserRow(NamedTuple):
    """A row of `users`."""

    id: int
    username: str
    is_admin: bool
    password_hash: str  # empty if the column is NULL: no password matches


class Question(NamedTuple):
    """A user name, and the type and pattern of each grant that a request needs."""

    username: str
    keys: frozenset[tuple[str, str]]


def user_row(user_id: int, username: str, is_admin: bool | None, stored: str | None) -> UserRow:
    """The row, without NULL."""
    return UserRow(user_id, username, bool(is_admin), stored or "")


async def whole(tx: Tx, names: Collection[str]) -> list[Row]:
    """The rows of `WHOLE` of the users that exist."""
    return await tx.fetch(WHOLE, tx.array(list(names)))


async def by_keys(
    tx: Tx, questions: Collection[Question]
) -> dict[Question, tuple[UserRow, list[Grant]]]:
    """The users that exist, each with at least the grants that its question names."""
    names = list({question.username for question in questions})
    keys = [(question.username, *key) for question in questions for key in question.keys]
    if tx.dialect == "sqlite":
        rows = await tx.fetch(USERS, tx.array(names), tx.array(keys))
    else:
        columns = zip(*keys, strict=True)
        rows = await tx.fetch(USERS, tx.array(names), *(tx.array(column) for column in columns))
    found: dict[str, tuple[UserRow, list[Grant]]] = {}
    grants: dict[str, list[Grant]] = {name: [] for name in names}
    for user_id, username, is_admin, password_hash, *grant in rows:
        if user_id is None:
            grants[username].append(Grant(*grant))
        else:
            row = user_row(user_id, username, is_admin, password_hash)
            found[username] = row, grants[username]
    return {q: found[q.username] for q in questions if q.username in found}


Patterns = dict[str, dict[str, list[str]]]


async def patterns(tx: Tx, name: str, types: Collection[str]) -> Patterns:
    """The patterns of all the user's grants of these types: by type and permission."""
    found: Patterns = {}
    for resource_type, permission, some in await tx.fetch(PATTERNS, name, tx.array(list(types))):
        texts = _TEXTS.decode(some) if isinstance(some, str) else some
        found.setdefault(resource_type, {})[permission] = texts
    return found
