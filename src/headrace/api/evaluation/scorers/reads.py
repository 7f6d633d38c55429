"""Reads of scorers as answers show them: with the name of the gateway's endpoint that each uses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace.api.evaluation.scorers import serialized, sql
from headrace.api.evaluation.scorers.types import Scorer
from headrace.contract.errors import experiment_not_found, not_found
from headrace.contract.experiment_ids import not_active

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.api.evaluation.scorers.sql import ScorerRow
    from headrace.contract.errors import ApiError
    from headrace.db.base import Tx


def scorer_not_found(name: str, experiment: str, version: int | None = None) -> ApiError:
    """The experiment has no such scorer, or no such version of it."""
    number = "" if version is None else f" and version {version}"
    return not_found(f"Scorer with name '{name}'{number} not found for experiment {experiment}.")


async def check_active(tx: Tx, experiment_id: int) -> None:
    """Raise RESOURCE_DOES_NOT_EXIST, or INVALID_PARAMETER_VALUE for a deleted experiment."""
    stage = await sql.stage(tx, experiment_id)
    if stage is None:
        raise experiment_not_found(experiment_id)
    if stage != "active":
        raise not_active(experiment_id, stage)


async def shown(tx: Tx, rows: Sequence[ScorerRow], *, is_list: bool) -> list[Scorer]:
    """Return scorers as answers show them; an endpoint that does not exist is null.

    `is_list`: a list spells all JSON anew, and an endpoint without a model is null, as in stock.
    """
    parsed = [serialized.parse(row.serialized_scorer) for row in rows]
    used = [serialized.endpoint_of(serialized.model_of(one)) for one in parsed]
    ids = [id_ for id_ in used if id_ is not None]
    names = await sql.names_of_endpoints(tx, ids, with_model=is_list)
    found = []
    for row, scorer, endpoint in zip(rows, parsed, used, strict=True):
        text = row.serialized_scorer
        if endpoint is not None:
            text = serialized.with_endpoint(scorer, names.get(endpoint))
        elif is_list:
            text = json.dumps(scorer)
        found.append(Scorer(**row._replace(serialized_scorer=text)._asdict()))
    return found


async def get(tx: Tx, experiment_id: int, name: str, version: int | None, spelt: str) -> Scorer:
    """Return a version of a scorer, without a number the latest one.

    Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (a deleted experiment); `spelt` is how
    the request spells the experiment.
    """
    await check_active(tx, experiment_id)
    row = await sql.version(tx, experiment_id, name, version)
    if row is None and version is not None:
        exists = await tx.fetchrow(sql.EXISTS, experiment_id, name) is not None
        raise scorer_not_found(name, spelt, version if exists else None)
    if row is None:
        raise scorer_not_found(name, spelt)
    return (await shown(tx, [row], is_list=False))[0]


async def numbers(tx: Tx, experiment_id: int, name: str, spelt: str) -> tuple[str, Sequence[int]]:
    """Return the id of a scorer and the numbers of its versions. Raises as `get`."""
    await check_active(tx, experiment_id)
    rows = await tx.fetch(sql.NUMBERS, experiment_id, name)
    if not rows:
        raise scorer_not_found(name, spelt)
    return rows[0][0], [row[1] for row in rows]


async def latest(tx: Tx, ids: Sequence[str]) -> list[Scorer]:
    """Return the latest versions of scorers; see `sql.latest`."""
    return await shown(tx, await sql.latest(tx, ids), is_list=True)


async def versions(tx: Tx, some: Sequence[int], scorer_id: str) -> list[Scorer]:
    """Return versions of a scorer; see `sql.versions`."""
    return await shown(tx, await sql.versions(tx, some, scorer_id), is_list=True)
