"""Transactions on secrets."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from headrace.api.gateway.nouns import unknown
from headrace.api.gateway.secrets import sql
from headrace.api.gateway.secrets.sql import SecretRow
from headrace.auth.access import Access
from headrace.contract.clock import now_ms
from headrace.contract.envelope import Envelope
from headrace.contract.errors import ApiError
from headrace.db.base import Tx

KIND: Final = "GatewaySecret"


class Sealed(NamedTuple):
    """The stored form of a new value; all None to keep the old one."""

    envelope: Envelope | None = None
    version: int | None = None  # of the server's key
    masked: str | None = None

    @property
    def columns(self) -> tuple[Any, ...]:
        """The encrypted value, the wrapped key, and the version of the server's key."""
        return (*(self.envelope or (None, None)), self.version)


def secret_not_found(secret_id: str) -> ApiError:
    """No secret has this id."""
    return unknown(KIND, "secret_id", secret_id)


async def create(tx: Tx, access: Access, row: SecretRow, sealed: Sealed) -> None:
    """Insert a secret that the caller manages."""
    await tx.execute(sql.INSERT, *row, *sealed.columns)
    await access.created(tx, "gateway_secret", row.secret_id)


async def undo_create(tx: Tx, secret_id: str) -> bool:
    """Delete a secret that has just been created. False if a model definition uses it already."""
    await tx.fetchrow(sql.LOCK, secret_id)
    if await tx.fetchrow(sql.IS_USED, secret_id) is not None:
        return False
    await tx.execute(sql.DELETE, secret_id)
    return True


async def get(tx: Tx, secret_id: str) -> SecretRow:
    """Return a secret. Raises RESOURCE_DOES_NOT_EXIST."""
    row = await sql.by_id(tx, secret_id)
    if row is None:
        raise secret_not_found(secret_id)
    return row


async def update(
    tx: Tx, secret_id: str, sealed: Sealed, config: str | None, replaces: bool, by: str | None
) -> SecretRow:
    """Change a secret, and its configuration if `replaces`. Raises RESOURCE_DOES_NOT_EXIST."""
    new = (*sealed.columns, sealed.masked, replaces, config)
    await tx.execute(sql.UPDATE, secret_id, *new, by, now_ms())
    return await get(tx, secret_id)


async def delete(tx: Tx, access: Access, secret_id: str) -> None:
    """Delete a secret, which model definitions lose. Raises RESOURCE_DOES_NOT_EXIST."""
    if not await tx.execute(sql.DELETE, secret_id):
        raise secret_not_found(secret_id)
    await access.deleted(tx, "gateway_secret", secret_id)
