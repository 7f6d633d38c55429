"""POST /graphql: answers the page's four queries with the handlers of the REST endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.api.context import Context
from headrace.api.registry.versions import handlers as model_versions
from headrace.api.registry.versions.types import SearchModelVersions
from headrace.api.results import Chunks, Encoded, NotNative, encode
from headrace.api.tracking.experiments import handlers as experiments
from headrace.api.tracking.experiments.types import ExperimentId
from headrace.api.tracking.metrics import handlers as metrics
from headrace.api.tracking.metrics.types import GetHistoryInterval
from headrace.api.tracking.runs import handlers as runs
from headrace.api.tracking.runs.types import GetRun, SearchRuns
from headrace.auth.authority import Denied
from headrace.auth.foreign import RequestIds
from headrace.auth.grantable import canonical
from headrace.auth.rules import experiment, needs, run, scoped
from headrace.contract.errors import ApiError, invalid
from headrace.contract.texts import refuse_unstorable
from headrace.graphql.pick import pick
from headrace.graphql.plan import Plan, arguments, plan

if TYPE_CHECKING:
    from headrace.auth.access import Access
    from headrace.auth.rules import Rule
    from headrace.settings.table import Settings

Answer = dict[str, Any]
READS_EXPERIMENT: Final = needs(experiment("read"))
READS_RUN: Final = needs(run("read"))
READS_RUNS: Final = needs(run("read", "run_ids[]"))
SEARCHES_RUNS: Final = scoped("experiment", among="experiment_ids[]")
SEARCHES_VERSIONS: Final = scoped("registered_model")
_READ: Final = msgspec.json.Decoder(Answer).decode
MAX_ANSWER_BYTES: Final = 16 << 20  # of the REST answer of a query; it is held in memory


class Large(Answer):
    """An answer that came in pieces. The query's fields are picked from it in a thread."""


class Withheld(Exception):
    """The caller may not read what the query asks for: its field is null, without an error."""


class Query(msgspec.Struct):
    """POST /graphql"""

    query: str
    variables: Any = None
    operationName: Any = None


async def execute(req: Query, ctx: Context) -> Encoded:
    """POST /graphql

    Errors are part of the answer, in `errors`. Queries that the page does not send are left to
    stock MLflow.
    """
    made = plan(req.query)
    if req.operationName not in (None, made.operation):
        raise NotNative("another operation")
    excess = _excess(made, ctx.settings)
    if excess:
        return Encoded(encode({"data": None, "errors": [excess]}))
    given = arguments(made, req.variables)
    ids = ctx.request_ids()
    try:
        refuse_unstorable(given)
        found = await RESOLVERS[made.root](given, made, ctx, ids)
    except Withheld:
        return Encoded(encode({"data": {made.key: None}, "errors": None}))
    except ApiError as error:
        message = ids.restored(error.message)
        return Encoded(encode({"data": {made.key: None}, "errors": [message]}))
    except msgspec.ValidationError as error:  # for the arguments
        raise NotNative from error
    if isinstance(found, Large):
        return Encoded(await asyncio.to_thread(_picked, found, made))
    return Encoded(_picked(found, made))


def _picked(found: Answer, made: Plan) -> bytes:
    problems: list[str] = []
    data = pick(found, made.picked, problems)
    return encode({"data": {made.key: data}, "errors": problems or None})


def _excess(made: Plan, settings: Settings) -> str | None:
    """Stock's error for more root fields or aliases than the settings allow, or None."""
    for found, most, what, variable in (
        (
            1,
            settings.graphql_max_root_fields,
            "root fields",
            "MLFLOW_SERVER_GRAPHQL_MAX_ROOT_FIELDS",
        ),
        (
            made.aliases,
            settings.graphql_max_aliases,
            "aliases",
            "MLFLOW_SERVER_GRAPHQL_MAX_ALIASES",
        ),
    ):
        if found > most:
            return (
                f"GraphQL queries should have at most {most} {what}, got {found} {what}. "
                f"To increase the limit, set the {variable} environment variable."
            )
    return None


async def _admitted(rule: Rule, req: Any, ctx: Context, ids: RequestIds) -> Context:
    """The context of the caller for a REST request of this rule. Raises `Withheld`.

    Replaces the ids of other workspaces in the request.
    """
    await ids.hide(req)
    try:
        access = await ctx.access.admit(rule, req)
    except (Denied, ApiError) as error:
        raise Withheld from error
    return ctx if access is ctx.access else ctx.with_access(access)


async def _get_experiment(given: Answer, made: Plan, ctx: Context, ids: RequestIds) -> Answer:
    req = msgspec.convert(given, ExperimentId)
    ctx = await _admitted(READS_EXPERIMENT, req, ctx, ids)
    return await _plain(await experiments.get(req, ctx))


async def _get_run(given: Answer, made: Plan, ctx: Context, ids: RequestIds) -> Answer:
    given.setdefault("run_id", given.get("run_uuid"))
    req = msgspec.convert(given, GetRun)
    ctx = await _admitted(READS_RUN, req, ctx, ids)
    found = await _plain(await runs.get(req, ctx))
    await _extend([found["run"]], made, "run", ctx)
    return found


async def _search_runs(given: Answer, made: Plan, ctx: Context, ids: RequestIds) -> Answer:
    req = msgspec.convert(given, SearchRuns)
    ctx = await _admitted(SEARCHES_RUNS, req, ctx, ids)
    if req.experiment_ids and not _finds_runs(req, ctx.access):
        raise Withheld
    found = await _plain(await runs.search_runs(req, ctx))
    await _extend(found.get("runs", []), made, "runs", ctx)
    return found


def _finds_runs(req: SearchRuns, access: Access) -> bool:
    """Whether the caller may read the runs of one of the experiments."""
    if access.hides("run"):
        return False
    scope = access.scope("experiment")
    return scope is None or any(scope.admits(canonical(id_)) for id_ in req.experiment_ids)


async def _get_history(given: Answer, made: Plan, ctx: Context, ids: RequestIds) -> Answer:
    req = msgspec.convert(given, GetHistoryInterval)
    ctx = await _admitted(READS_RUNS, req, ctx, ids)
    return await _plain(await metrics.get_history_interval(req, ctx))


Resolver = Callable[[Answer, Plan, Context, RequestIds], Awaitable[Answer]]
RESOLVERS: Final[dict[str, Resolver]] = {
    "mlflowGetExperiment": _get_experiment,
    "mlflowGetMetricHistoryBulkInterval": _get_history,
    "mlflowGetRun": _get_run,
    "mlflowSearchRuns": _search_runs,
}


async def _extend(found: list[Answer], made: Plan, place: str, ctx: Context) -> None:
    """Add the fields of runs that only GraphQL has: the experiment and the model versions."""
    if made.takes(place, "experiment"):
        of_id: dict[str, Answer] = {}
        for one in found:
            experiment_id = one["info"]["experiment_id"]
            if experiment_id not in of_id:
                req = ExperimentId(experiment_id=experiment_id)
                found_experiment = await _plain(await experiments.get(req, ctx))
                of_id[experiment_id] = found_experiment["experiment"]
            one["experiment"] = of_id[experiment_id]
    if made.takes(place, "model_versions"):
        ctx = await _admitted(SEARCHES_VERSIONS, SearchModelVersions(), ctx, ctx.request_ids())
        for one in found:
            search = SearchModelVersions(filter=f"run_id='{one['info']['run_id']}'")
            versions = await _plain(await model_versions.search_versions(search, ctx))
            one["model_versions"] = versions.get("model_versions", [])


async def _plain(answer: Any) -> Answer:
    """A REST answer as dicts and lists.

    Raises INVALID_PARAMETER_VALUE for one that is too large.
    """
    if isinstance(answer, Encoded):
        return _READ(answer.body)
    if isinstance(answer, Chunks):
        return Large(await asyncio.to_thread(_READ, await _gathered(answer)))
    plain: Answer = msgspec.to_builtins(answer)
    return plain


async def _gathered(answer: Chunks) -> bytes:
    gathered = bytearray()
    async with aclosing(answer.iterator) as pieces:
        async for piece in pieces:
            gathered += piece
            if len(gathered) > MAX_ANSWER_BYTES:
                raise invalid(
                    f"The answer has more than {MAX_ANSWER_BYTES} bytes. Ask the REST endpoint for it."
                )
    return bytes(gathered)
