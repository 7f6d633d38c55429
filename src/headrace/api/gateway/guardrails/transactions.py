"""Transactions on guardrails."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from headrace.api.gateway.endpoints import sql as endpoints_sql
from headrace.api.gateway.endpoints import transactions as endpoints
from headrace.api.gateway.guardrails import sql
from headrace.api.gateway.guardrails.sql import ConfigRow, GuardrailRow
from headrace.api.gateway.nouns import unknown
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode, invalid, not_found
from headrace.contract.scalars import INT32_MAX, INT32_MIN

if TYPE_CHECKING:
    from headrace.api.gateway.guardrails.types import AddGuardrail, CreateGuardrail
    from headrace.db.base import Tx


def _not_known(guardrail_id: str) -> ApiError:
    return unknown("Guardrail", "guardrail_id", guardrail_id)


def _no_config(endpoint_id: str, guardrail_id: str) -> ApiError:
    return not_found(
        f"GuardrailConfig not found (endpoint_id='{endpoint_id}', guardrail_id='{guardrail_id}')"
    )


async def get(tx: Tx, guardrail_id: str) -> GuardrailRow:
    """Return a guardrail. Raises RESOURCE_DOES_NOT_EXIST."""
    row = await tx.fetchrow(sql.BY_ID, guardrail_id)
    if row is None:
        raise _not_known(guardrail_id)
    return GuardrailRow(*row)


async def create(tx: Tx, req: CreateGuardrail, user: str) -> GuardrailRow:
    """Insert a guardrail.

    Raises RESOURCE_DOES_NOT_EXIST and INVALID_PARAMETER_VALUE for the scorer, and
    ForeignKeyViolation for the endpoint.
    """
    _check_scorer(await _serialized_scorer(tx, req.scorer_id, req.scorer_version))
    guardrail_id = f"gr-{uuid.uuid4().hex}"
    await tx.execute(
        sql.INSERT,
        guardrail_id,
        req.name,
        req.scorer_id,
        req.scorer_version,
        req.stage.value,
        req.action.value,
        req.action_endpoint_id or None,
        user,
        now_ms(),
    )
    return await get(tx, guardrail_id)


async def _serialized_scorer(tx: Tx, scorer_id: str, version: int) -> str:
    if await tx.fetchrow(sql.SCORER, scorer_id) is None:
        raise not_found(f"Scorer with ID '{scorer_id}' not found.")
    row = None
    if INT32_MIN <= version <= INT32_MAX:
        row = await tx.fetchrow(sql.VERSION, scorer_id, version)
    if row is None:
        raise not_found(f"Scorer with ID '{scorer_id}' and version {version} not found.")
    return str(row[0])


def _check_scorer(serialized: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a scorer with source code, which the gateway would run."""
    try:
        found = json.loads(serialized)
    except (ValueError, RecursionError) as error:
        raise invalid(f"Malformed serialized scorer: {error}") from error
    if _has_source(found):
        raise invalid(
            "Gateway guardrails do not support custom scorers defined with the @scorer "
            "decorator. Use a built-in scorer or a judge created with make_judge."
        )


def _has_source(value: Any) -> bool:
    """Whether a scorer, or one of those that it consists of, has source code."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if one.get("call_source") is not None:
                return True
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return False


async def delete(tx: Tx, guardrail_id: str) -> None:
    """Delete a guardrail and its use by endpoints. Raises RESOURCE_DOES_NOT_EXIST."""
    if await tx.fetchrow(sql.LOCKED_TO_DELETE, guardrail_id) is None:
        raise _not_known(guardrail_id)
    await tx.execute(sql.DELETE_CONFIGS, guardrail_id)
    await tx.execute(sql.DELETE, guardrail_id)


async def add(tx: Tx, req: AddGuardrail, user: str) -> tuple[ConfigRow, GuardrailRow]:
    """Let an endpoint use a guardrail. Raises RESOURCE_DOES_NOT_EXIST, and UniqueViolation if it does."""
    await endpoints.exists(tx, req.endpoint_id, "Endpoint")
    if await tx.fetchrow(sql.SHARED, req.guardrail_id) is None:
        raise _not_known(req.guardrail_id)
    row = ConfigRow(req.endpoint_id, req.guardrail_id, req.execution_order, user, now_ms())
    await tx.execute(sql.INSERT_CONFIG, *row)
    return row, await get(tx, req.guardrail_id)


def already_added(req: AddGuardrail) -> ApiError:
    """The endpoint uses the guardrail."""
    return ApiError(
        ErrorCode.RESOURCE_ALREADY_EXISTS,
        f"Guardrail '{req.guardrail_id}' is already added to endpoint '{req.endpoint_id}'",
    )


async def set_order(
    tx: Tx, endpoint_id: str, guardrail_id: str, order: int | None
) -> tuple[ConfigRow, GuardrailRow]:
    """Set the place of a guardrail of an endpoint. Raises RESOURCE_DOES_NOT_EXIST."""
    if not await tx.execute(sql.SET_ORDER, endpoint_id, guardrail_id, order):
        raise _no_config(endpoint_id, guardrail_id)
    row = await tx.fetchrow(sql.CONFIG, endpoint_id, guardrail_id)
    assert row is not None, "the transaction has changed it"
    return ConfigRow(*row), await get(tx, guardrail_id)


async def remove(tx: Tx, endpoint_id: str, guardrail_id: str) -> None:
    """Let an endpoint no longer use a guardrail. Raises RESOURCE_DOES_NOT_EXIST."""
    if not await tx.execute(sql.DELETE_CONFIG, endpoint_id, guardrail_id):
        raise _no_config(endpoint_id, guardrail_id)


async def check_endpoint(tx: Tx, endpoint_id: str) -> None:
    """Raise RESOURCE_DOES_NOT_EXIST unless the endpoint exists."""
    if await endpoints_sql.by_id(tx, endpoint_id) is None:
        raise unknown("Endpoint", "endpoint_id", endpoint_id)
