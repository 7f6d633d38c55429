"""Transactions on scorers. Each that changes one locks it first."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.api.evaluation.scorers import reads, serialized, sql
from headrace.api.results import NotNative
from headrace.auth.grantable import scorer_id as granted_id
from headrace.contract.clock import now_ms
from headrace.contract.errors import invalid, not_found
from headrace.contract.texts import refuse_unstorable
from headrace.db.errors import Retryable

if TYPE_CHECKING:
    from headrace.auth.access import Access
    from headrace.db.base import Tx


class New(NamedTuple):
    """A version to register. `spelt` is the experiment as the request spells it."""

    experiment_id: int
    spelt: str
    name: str
    text: str  # as the client sent it
    scorer: dict[str, Any]  # parsed


async def register(tx: Tx, access: Access, new: New) -> sql.ScorerRow:
    """Add a version to a scorer, which is created if necessary, and return it.

    Raises RESOURCE_DOES_NOT_EXIST (the experiment, the gateway's endpoint), INVALID_PARAMETER_VALUE.
    """
    await reads.check_active(tx, new.experiment_id)
    endpoint = serialized.endpoint_of(serialized.model_of(new.scorer))
    refuse_unstorable(endpoint, "model")
    text, endpoint_id = new.text, None
    if endpoint is not None:
        row = await tx.fetchrow(sql.ENDPOINT_ID, endpoint)
        if row is None:
            raise not_found(f"GatewayEndpoint not found (name='{endpoint}')")
        endpoint_id = row[0]
        # The parsed scorer is the argument of a transaction that may run again.
        text = serialized.with_endpoint(serialized.parse(new.text), endpoint_id)
    scorer_id = await _locked(tx, new.experiment_id, new.name)
    last = await tx.fetchrow(sql.LAST_NUMBER, scorer_id)
    number = 1 + ((last[0] if last else None) or 0)
    now = now_ms()
    await tx.execute(sql.INSERT_VERSION, scorer_id, number, text, now)
    if endpoint_id is not None:
        await tx.execute(sql.UNBIND, scorer_id)
        await tx.execute(sql.BIND, endpoint_id, scorer_id, new.name, now)
    await access.created(tx, "scorer", granted_id(new.spelt, new.name))
    answered = text if endpoint is None else serialized.with_endpoint(new.scorer, endpoint)
    return sql.ScorerRow(new.experiment_id, new.name, number, answered, now, scorer_id)


async def _locked(tx: Tx, experiment_id: int, name: str) -> str:
    """The id of a scorer, which is created if necessary."""
    row = await tx.fetchrow(sql.LOCKED, experiment_id, name)
    if row is None:
        await tx.execute(sql.INSERT, experiment_id, name, str(uuid.uuid4()))
        row = await tx.fetchrow(sql.LOCKED, experiment_id, name)
    if row is None:
        raise Retryable("the scorer was deleted while a version was registered")
    found: str = row[0]
    return found


async def delete(
    tx: Tx, access: Access, experiment_id: int, name: str, version: int | None, spelt: str
) -> None:
    """Delete a version, or a scorer with all its versions and its configuration.

    As in stock, both delete the users' own grants on the scorer.

    Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (a deleted experiment).
    """
    await reads.check_active(tx, experiment_id)
    row = await tx.fetchrow(sql.LOCKED_TO_DELETE, experiment_id, name)
    if row is None:
        raise reads.scorer_not_found(name, spelt)
    if version is not None:
        if not await tx.execute(sql.DELETE_VERSION, row[0], version):
            raise reads.scorer_not_found(name, spelt, version)
        await access.deleted(tx, "scorer", granted_id(spelt, name))
        return
    if not await tx.execute(sql.DELETE_VERSIONS, row[0]):
        raise reads.scorer_not_found(name, spelt)
    for statement in (sql.UNBIND, sql.DELETE_ONLINE, sql.DELETE):
        await tx.execute(statement, row[0])
    await access.deleted(tx, "scorer", granted_id(spelt, name))


async def endpoint_of(tx: Tx, experiment_id: int, name: str) -> str | None:
    """The id of the gateway's endpoint that the latest version of a scorer uses."""
    latest = await sql.version(tx, experiment_id, name, None)
    if latest is None:
        return None
    return serialized.endpoint_of(serialized.model_of(serialized.parse(latest.serialized_scorer)))


async def set_online(
    tx: Tx, experiment_id: int, name: str, rate: float, filter_: str | None, spelt: str
) -> sql.OnlineRow:
    """Replace the online configuration of a scorer, and return it.

    Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (a deleted experiment, a scorer that
    cannot judge by itself), and NotNative for a scorer that only MLflow can judge to be one.
    """
    await reads.check_active(tx, experiment_id)
    row = await tx.fetchrow(sql.LOCKED, experiment_id, name)
    if row is None:
        raise reads.scorer_not_found(name, spelt)
    latest = await sql.version(tx, experiment_id, name, None)
    if latest is not None and rate > 0:
        scorer = serialized.parse(latest.serialized_scorer)
        if serialized.endpoint_of(serialized.model_of(scorer)) is None:
            raise invalid(
                f"Scorer '{name}' does not use a gateway model. Automatic evaluation is only "
                "supported for scorers that use gateway models."
            )
        if serialized.may_expect(scorer):
            raise NotNative
    config = sql.OnlineRow(uuid.uuid4().hex, row[0], rate, experiment_id, filter_)
    await tx.execute(sql.DELETE_ONLINE, row[0])
    await tx.execute(sql.INSERT_ONLINE, *config)
    return config
