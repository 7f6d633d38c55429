"""Handlers of scorers. Times are milliseconds since the epoch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from headrace.api.context import Context
from headrace.api.evaluation.scorers import reads, serialized, sql, transactions
from headrace.api.evaluation.scorers.rules import USES_ENDPOINT
from headrace.api.evaluation.scorers.types import (
    ListScorers,
    OnlineConfig,
    OnlineConfigAnswer,
    OnlineConfigIds,
    OnlineConfigList,
    RegisteredScorer,
    RegisterScorer,
    Scorer,
    ScorerAnswer,
    ScorerList,
    ScorerName,
    ScorerVersionName,
    SetOnlineConfig,
)
from headrace.api.pieces import Listing, pieces, pieces_of
from headrace.api.results import Chunks
from headrace.auth.access import Access
from headrace.auth.grantable import scorer_id
from headrace.auth.rules import needs, undenied
from headrace.contract.errors import invalid
from headrace.contract.experiment_ids import parse_id, parse_ids
from headrace.contract.limits import MAX_BODY_VALUES
from headrace.contract.scalars import Empty
from headrace.contract.texts import refuse_unstorable
from headrace.contract.value_count import check_text_values
from headrace.db.base import Row, Tx
from headrace.db.errors import UniqueViolation
from headrace.search.trace_filter import parse_filter

# A longer text is read in a thread, so that the event loop runs in between.
INLINE_CHARACTERS: Final = 16 << 10
# Times that a version is registered when stock MLflow registers one at the same time.
REGISTER_TRIES: Final = 5
BATCH: Final = 1000  # scorers whose names are read at a time
FIRST: Final = (-(2**31), "")  # before every scorer
LATEST: Final[Listing[str]] = Listing(b"scorers", sql.latest_weights, reads.latest, list)
SHOWS_VERSIONS: Final = needs(undenied("scorer_version"))


async def register(req: RegisterScorer, ctx: Context) -> RegisteredScorer:
    """POST /3.0/mlflow/scorers/register

    Adds a version to a scorer, which the caller may then manage. Errors: INVALID_PARAMETER_VALUE
    (the JSON text, the name, code on a server that does not accept it), RESOURCE_DOES_NOT_EXIST
    (the experiment, the gateway's endpoint), `Denied` (the endpoint).
    """
    sql.check_served(ctx.db.schema)
    text = req.serialized_scorer
    await check_text_values(text, MAX_BODY_VALUES, "serialized_scorer")
    read = partial(serialized.read, text, allows_code=ctx.settings.enable_custom_scorers)
    scorer = read() if len(text) <= INLINE_CHARACTERS else await asyncio.to_thread(read)
    if not req.name.strip():
        raise invalid("Scorer name cannot be empty or contain only whitespace.")
    number = parse_id(req.experiment_id)
    endpoint = serialized.endpoint_of(serialized.model_of(scorer))
    if endpoint is not None:
        refuse_unstorable(endpoint, "model")
        await ctx.access.require(USES_ENDPOINT, {"name": endpoint})
    new = transactions.New(number, req.experiment_id, req.name, text, scorer)
    row = await _register(ctx, new)
    await ctx.finish()
    return RegisteredScorer(
        version=row.scorer_version,
        scorer_id=row.scorer_id,
        experiment_id=str(number),
        name=row.scorer_name,
        serialized_scorer=row.serialized_scorer,
        creation_time=row.creation_time or 0,
    )


async def _register(ctx: Context, new: transactions.New) -> sql.ScorerRow:
    tries = REGISTER_TRIES
    while True:
        try:
            return await ctx.db.write(transactions.register, ctx.access, new)
        except UniqueViolation as error:
            tries -= 1
            if error.table != "scorer_versions" or not tries:
                raise


async def list_scorers(req: ListScorers, ctx: Context) -> ScorerList | Chunks:
    """GET /3.0/mlflow/scorers/list

    The latest version of each scorer of an experiment, of several, or of all active ones, by
    experiment and name; with users, those that the caller may read. Errors:
    INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (`experiment_id`).
    """
    sql.check_served(ctx.db.schema)
    if req.experiment_id and req.experiment_ids is not None:
        raise invalid(
            "Cannot specify both 'experiment_id' and 'experiment_ids'. Use "
            "'experiment_ids' to scope the query to multiple experiments, or "
            "'experiment_id' to scope it to a single experiment."
        )
    experiment_ids: list[int] | None = None
    if req.experiment_ids is not None:
        experiment_ids = parse_ids(dict.fromkeys(req.experiment_ids))
    elif req.experiment_id:
        experiment_ids = [parse_id(req.experiment_id)]
        await ctx.db.read_point(reads.check_active, experiment_ids[0])
    if not await ctx.access.permits(SHOWS_VERSIONS, req):
        experiment_ids = []
    return Chunks(pieces_of(ctx.db, LATEST, _batches(ctx, experiment_ids)))


async def _batches(ctx: Context, experiment_ids: list[int] | None) -> AsyncIterator[Sequence[str]]:
    """The ids of the scorers that the caller may read."""
    after = FIRST
    while experiment_ids is None or experiment_ids:
        rows = await ctx.db.read(sql.next_keys, after, BATCH, experiment_ids)
        yield _readable(rows, ctx.access)
        if len(rows) < BATCH:
            return
        after = (rows[-1][0], rows[-1][1])


def _readable(rows: Sequence[Row], access: Access) -> list[str]:
    experiments, scorers = access.scope("experiment"), access.scope("scorer")
    return [
        id_
        for experiment_id, name, id_ in rows
        if (experiments is None or experiments.admits(str(experiment_id)))
        and (scorers is None or scorers.admits(scorer_id(str(experiment_id), name)))
    ]


async def list_versions(req: ScorerName, ctx: Context) -> ScorerList | Chunks:
    """GET /3.0/mlflow/scorers/versions

    All versions of a scorer, the oldest first. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    sql.check_served(ctx.db.schema)
    number = parse_id(req.experiment_id)
    id_, numbers = await ctx.db.read(reads.numbers, number, req.name, req.experiment_id)
    listing: Listing[int] = Listing(
        b"scorers",
        partial(sql.version_weights, scorer_id=id_),
        partial(reads.versions, scorer_id=id_),
        _as_they_are,
    )
    return Chunks(pieces(ctx.db, listing, numbers, None))


def _as_they_are(found: list[Scorer]) -> list[Scorer]:
    return found


async def get(req: ScorerVersionName, ctx: Context) -> ScorerAnswer:
    """GET /3.0/mlflow/scorers/get

    A version of a scorer, by default the latest one. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    sql.check_served(ctx.db.schema)
    about = (parse_id(req.experiment_id), req.name, req.version, req.experiment_id)
    return ScorerAnswer(scorer=await ctx.db.read_point(reads.get, *about))


async def delete(req: ScorerVersionName, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/scorers/delete

    Deletes a version, or the whole scorer. The users' own grants on the scorer are deleted too, even
    with one version. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    sql.check_served(ctx.db.schema)
    about = (parse_id(req.experiment_id), req.name, req.version, req.experiment_id)
    await ctx.db.write(transactions.delete, ctx.access, *about)
    await ctx.finish()
    return Empty()


def _online(row: sql.OnlineRow) -> OnlineConfig:
    return OnlineConfig(
        online_scoring_config_id=row.online_scoring_config_id,
        scorer_id=row.scorer_id,
        sample_rate=row.sample_rate,
        experiment_id=str(row.experiment_id),
        filter_string=row.filter_string,
    )


async def set_online_config(req: SetOnlineConfig, ctx: Context) -> OnlineConfigAnswer:
    """PUT /3.0/mlflow/scorers/online-config

    Replaces the configuration of a scorer. Errors: INVALID_PARAMETER_VALUE (rate, filter, a scorer
    that uses no gateway), RESOURCE_DOES_NOT_EXIST, `Denied` (the scorer's endpoint). Stock answers
    for a judge whose instructions may refer to expectations: only MLflow's classes know whether it
    needs them.
    """
    sql.check_served(ctx.db.schema)
    rate = req.sample_rate
    if not 0.0 <= rate <= 1.0:
        raise invalid(f"sample_rate must be between 0.0 and 1.0, got {rate}")
    if req.filter_string:
        parse_filter(req.filter_string)
    number = parse_id(req.experiment_id)
    if rate > 0:
        endpoint_id = await ctx.db.read(transactions.endpoint_of, number, req.name)
        await ctx.access.require(USES_ENDPOINT, {"endpoint_id": endpoint_id})
    about = (number, req.name, rate, req.filter_string, req.experiment_id)
    return OnlineConfigAnswer(config=_online(await ctx.db.write(transactions.set_online, *about)))


async def list_online_configs(req: OnlineConfigIds, ctx: Context) -> OnlineConfigList:
    """GET /3.0/mlflow/scorers/online-configs

    The configurations of the scorers that have one.
    """
    sql.check_served(ctx.db.schema)
    rows = await ctx.db.read(_online_rows, req.scorer_ids)
    return OnlineConfigList(configs=[_online(row) for row in rows])


async def _online_rows(tx: Tx, scorer_ids: Sequence[str]) -> list[sql.OnlineRow]:
    return [sql.OnlineRow(*row) for row in await tx.fetch(sql.ONLINE, tx.array(scorer_ids))]
