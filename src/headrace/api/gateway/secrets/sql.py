"""SQL for secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Row, Tx


class SecretRow(NamedTuple):
    """A row of `secrets` without what is encrypted. Times are milliseconds; the objects are JSON."""

    secret_id: str
    secret_name: str
    masked_value: str
    provider: str | None
    auth_config: str | None
    created_by: str | None
    created_at: int
    last_updated_by: str | None
    last_updated_at: int


_COLUMNS: Final = ", ".join(SecretRow._fields)
_ENCRYPTED: Final = "encrypted_value, wrapped_dek, kek_version"
_NUMBERED: Final = ", ".join(f"${n}" for n in range(1, len(SecretRow._fields) + 4))
LENGTHY: Final = ("masked_value", "auth_config")  # columns of any length
BY_ID = Sql(f"SELECT {_COLUMNS} FROM secrets WHERE workspace = {{workspace}} AND secret_id = $1")
BY_IDS = Sql(
    f"SELECT {_COLUMNS} FROM secrets WHERE workspace = {{workspace}} AND secret_id {{in $1 text}}"
)
INSERT = Sql(
    f"INSERT INTO secrets ({_COLUMNS}, {_ENCRYPTED}, workspace) VALUES ({_NUMBERED}, {{workspace}})"
)
# Null keeps the encrypted value; `auth_config` is replaced if $6 is true.
UPDATE = Sql(
    "UPDATE secrets SET encrypted_value = coalesce($2, encrypted_value),"
    " wrapped_dek = coalesce($3, wrapped_dek), kek_version = coalesce($4, kek_version),"
    " masked_value = coalesce($5, masked_value),"
    " auth_config = CASE WHEN $6 THEN $7 ELSE auth_config END,"
    " last_updated_by = $8, last_updated_at = $9 WHERE workspace = {workspace} AND secret_id = $1"
)
DELETE = Sql("DELETE FROM secrets WHERE workspace = {workspace} AND secret_id = $1")
IS_USED = Sql(
    "SELECT 1 FROM model_definitions WHERE workspace = {workspace} AND secret_id = $1 LIMIT 1"
)
LOCK = Sql("SELECT 1 FROM secrets WHERE workspace = {workspace} AND secret_id = $1 {for delete}")
# A model definition that is made at the same time waits for the deletion of its secret, or prevents it.
EXISTING = Sql(
    "SELECT secret_name FROM secrets WHERE workspace = {workspace} AND secret_id = $1 {for share}"
)


async def by_id(tx: Tx, secret_id: str) -> SecretRow | None:
    """Return a secret."""
    row = await tx.fetchrow(BY_ID, secret_id)
    return None if row is None else SecretRow(*row)


async def read(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """Return the secrets with these ids that exist, in this order."""
    rows = {row[0]: row for row in await tx.fetch(BY_IDS, tx.array(ids))}
    return [rows[id_] for id_ in ids if id_ in rows]
