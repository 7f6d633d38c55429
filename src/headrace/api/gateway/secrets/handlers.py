"""Handlers of secrets. Times are milliseconds since the epoch; values are stored encrypted and never answered."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from headrace import search
from headrace.api.context import Context
from headrace.api.gateway.listing import GatewayList, listed
from headrace.api.gateway.nouns import check_served
from headrace.api.gateway.secrets import rules, sql, transactions
from headrace.api.gateway.secrets.keys import server_key
from headrace.api.gateway.secrets.sql import SecretRow
from headrace.api.gateway.secrets.transactions import Sealed
from headrace.api.gateway.secrets.types import (
    CreateSecret,
    DeleteSecret,
    ListSecrets,
    Secret,
    SecretAnswer,
    SecretId,
    SecretList,
    SecretsConfig,
    UpdateSecret,
)
from headrace.api.results import Chunks, Line
from headrace.contract import envelope
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode
from headrace.contract.scalars import Empty, PathOnly
from headrace.db.base import Row
from headrace.db.errors import UniqueViolation

TABLE: Final = "secrets"
UNREADABLE: Final = {"value": envelope.HIDDEN}  # shown if the masked value is no JSON, as in MLflow


def show(row: SecretRow) -> Secret:
    """A secret as answers show it."""
    try:
        masked = json.loads(row.masked_value)
    except ValueError:
        masked = UNREADABLE
    return Secret(
        secret_id=row.secret_id,
        secret_name=row.secret_name,
        masked_values=masked,
        created_at=row.created_at,
        last_updated_at=row.last_updated_at,
        provider=row.provider,
        created_by=row.created_by,
        last_updated_by=row.last_updated_by,
        auth_config=json.loads(row.auth_config) if row.auth_config else {},
    )


async def _show_all(rows: Sequence[Row], ctx: Context) -> list[Any]:
    return [show(SecretRow(*row)) for row in rows]


SECRETS: Final = GatewayList(b"secrets", sql.read, _show_all)


async def _sealed(value: Mapping[str, str], secret_id: str, name: str, ctx: Context) -> Sealed:
    """A value as it is stored. Raises NOT_IMPLEMENTED (no package)."""
    key = await server_key(ctx.settings)
    masked = {field: envelope.masked(text) for field, text in value.items()}
    sealed = envelope.seal(json.dumps(dict(value)), key, secret_id, name)
    return Sealed(sealed, ctx.settings.crypto_kek_version, json.dumps(masked))


async def create(req: CreateSecret, ctx: Context) -> SecretAnswer:
    """POST /3.0/mlflow/gateway/secrets/create

    The caller manages the secret. Errors: INVALID_PARAMETER_VALUE (a name in the value or the
    configuration that chooses a host, `api_base`), RESOURCE_ALREADY_EXISTS (the name),
    NOT_IMPLEMENTED (the package for the encryption is not installed).
    """
    check_served(ctx, TABLE)
    config = await rules.checked_config(req.auth_config, ctx)
    rules.check_value(req.secret_value)
    secret_id, now = f"s-{uuid.uuid4().hex}", now_ms()
    sealed = await _sealed(req.secret_value, secret_id, req.secret_name, ctx)
    row = SecretRow(
        secret_id=secret_id,
        secret_name=req.secret_name,
        masked_value=sealed.masked or "{}",
        provider=req.provider or None,
        auth_config=json.dumps(config) if config else None,
        created_by=req.created_by or None,
        created_at=now,
        last_updated_by=req.created_by or None,
        last_updated_at=now,
    )
    try:
        await ctx.db.write(transactions.create, ctx.access, row, sealed)
    except UniqueViolation as error:
        if error.table != TABLE:
            raise
        text = f"Secret with name '{req.secret_name}' already exists"
        raise ApiError(ErrorCode.RESOURCE_ALREADY_EXISTS, text) from error
    await ctx.finish(transactions.undo_create, secret_id)
    return SecretAnswer(secret=show(row))


async def get(req: SecretId, ctx: Context) -> SecretAnswer:
    """GET /3.0/mlflow/gateway/secrets/get. Errors: RESOURCE_DOES_NOT_EXIST."""
    check_served(ctx, TABLE)
    row = await ctx.db.read_point(transactions.get, req.secret_id)
    return SecretAnswer(secret=show(row))


async def list_secrets(req: ListSecrets, ctx: Context) -> SecretList | Chunks:
    """GET /3.0/mlflow/gateway/secrets/list: those that the caller may read, the oldest first."""
    check_served(ctx, TABLE)
    rows = search.gateway_rows(
        TABLE,
        "secret_id",
        sql.LENGTHY,
        equal={"provider": req.provider},
        readable=ctx.access.scope("gateway_secret"),
        dialect=ctx.db.dialect,
    )
    found = await listed(ctx, SECRETS, rows)
    return found if isinstance(found, Chunks) else SecretList(secrets=found)


async def update(req: UpdateSecret, ctx: Context) -> SecretAnswer:
    """POST /3.0/mlflow/gateway/secrets/update

    An empty value or configuration keeps the old one; a configuration with only an empty
    `api_base` removes it. Without `updated_by` it is unknown who updated the secret, as in MLflow.
    Errors: as `create`, and RESOURCE_DOES_NOT_EXIST.
    """
    check_served(ctx, TABLE)
    config = await rules.checked_config(req.auth_config, ctx)
    rules.check_value(req.secret_value)
    sealed = Sealed()
    if req.secret_value:
        # The name of a secret never changes.
        known = await ctx.db.read_point(transactions.get, req.secret_id)
        sealed = await _sealed(req.secret_value, req.secret_id, known.secret_name, ctx)
    row = await ctx.db.write(
        transactions.update,
        req.secret_id,
        sealed,
        json.dumps(config) if config else None,
        config is not None,
        req.updated_by or None,
    )
    return SecretAnswer(secret=show(row))


async def delete(req: DeleteSecret, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/gateway/secrets/delete

    Model definitions that use the secret stay, without a secret. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    check_served(ctx, TABLE)
    await ctx.db.write(transactions.delete, ctx.access, req.secret_id)
    await ctx.finish()
    return Empty()


async def config(req: PathOnly, ctx: Context) -> Line[SecretsConfig]:
    """GET /3.0/mlflow/gateway/secrets/config: only admins learn whether the passphrase is public."""
    check_served(ctx, TABLE)
    tells = ctx.access.username is None or ctx.access.is_admin
    return Line(
        SecretsConfig(
            secrets_available=await asyncio.to_thread(envelope.available),
            using_default_passphrase=not ctx.settings.crypto_kek_passphrase if tells else None,
        )
    )
