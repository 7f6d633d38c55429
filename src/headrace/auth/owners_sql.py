"""SQL for the experiments that runs, traces and the like belong to, and the kind of models."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.auth.grantable import scorer_id
from headrace.contract.experiment_ids import MAX_ID
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from headrace.db.base import Tx

IS_PROMPT: Final = "mlflow.prompt.is_prompt"
OF_RUNS = Sql("SELECT run_uuid, experiment_id FROM runs WHERE run_uuid {in $1 text}")
OF_LOGGED_MODELS = Sql(
    "SELECT model_id, experiment_id FROM logged_models"
    " WHERE model_id {in $1 text} AND lifecycle_stage <> 'deleted'"
)
OF_TRACES = Sql("SELECT request_id, experiment_id FROM trace_info WHERE request_id {in $1 text}")
OF_DATASETS = Sql(
    "SELECT source_id, destination_id FROM entity_associations WHERE source_type = 'evaluation_dataset'"
    " AND source_id {in $1 text} AND destination_type = 'experiment'"
)
OF_ISSUES = Sql("SELECT issue_id, experiment_id FROM issues WHERE issue_id {in $1 text}")
OF_LABEL_SCHEMAS = Sql(
    "SELECT schema_id, experiment_id FROM label_schemas WHERE schema_id {in $1 text}"
)
OF_JOBS = Sql("SELECT id, creator, params FROM jobs WHERE id {in $1 text}")
# Names of endpoints are unique in a workspace; without workspaces there is only this one.
OF_ENDPOINT_NAMES = Sql(
    "SELECT name, endpoint_id FROM endpoints WHERE workspace = {workspace} AND name {in $1 text}"
)
OF_ENDPOINTS = Sql(
    "SELECT endpoint_id, experiment_id FROM endpoints"
    " WHERE endpoint_id {in $1 text} AND experiment_id IS NOT NULL"
)
OF_GUARDRAILS = Sql(
    "SELECT g.guardrail_id, s.experiment_id, s.scorer_name FROM guardrails g"
    " JOIN scorers s ON s.scorer_id = g.scorer_id WHERE g.guardrail_id {in $1 text}"
)
OF_ONLINE_SCORERS = Sql(
    "SELECT scorer_id, experiment_id FROM online_scoring_configs WHERE scorer_id {in $1 text}"
)
_QUEUE: Final = "SELECT queue_id, experiment_id, queue_type, created_by FROM review_queues WHERE "
OF_QUEUES = Sql(_QUEUE + "queue_id {in $1 text}")
OF_QUEUE_NAME = Sql(_QUEUE + "experiment_id = $1 AND name_key = $2")
MEMBERS = Sql("SELECT queue_id, user_id FROM review_queue_users WHERE queue_id {in $1 text}")
OF_NAMES = Sql("SELECT name, experiment_id FROM experiments WHERE {in workspace}name {in $1 text}")
_KINDS: Final = (
    "SELECT m.name, t.value FROM registered_models m LEFT JOIN registered_model_tags t"
    " ON {tag} t.key = '" + IS_PROMPT + "' AND t.name = m.name WHERE {model} m.name {{in $1 text}}"
)
# The name of each registered model, and the value of the tag that says whether it is a prompt.
# Every key of the registry begins with the workspace; older heads have none.
KINDS = Sql(
    _KINDS.format(tag="t.workspace = {workspace} AND", model="m.workspace = {workspace} AND")
)
KINDS_WITHOUT_WORKSPACES = Sql(_KINDS.format(tag="", model=""))


class JobOwner(NamedTuple):
    """The user who started a job, and the experiment that it is about, as its parameters name it."""

    creator: str | None
    experiment_id: str | None


class OwnerKeys(NamedTuple):
    """The ids and names to look up."""

    runs: Collection[str] = ()
    logged_models: Collection[str] = ()
    traces: Collection[str] = ()
    experiment_names: Collection[str] = ()
    models: Collection[str] = ()
    datasets: Collection[str] = ()
    issues: Collection[str] = ()
    label_schemas: Collection[str] = ()
    jobs: Collection[str] = ()
    endpoint_names: Collection[str] = ()
    guardrails: Collection[str] = ()
    online_scorers: Collection[str] = ()
    queues: Collection[str] = ()
    queue_names: Collection[str] = ()  # EXPERIMENT/NAME, in lower case
    endpoints: Collection[str] = ()


class Queue(NamedTuple):
    """The experiment of a review queue, and the users who have rights to it."""

    experiment_id: str
    type: str  # user or custom
    owner: str | None
    members: Collection[str]  # in lower case, as they are stored

    def is_owned_by(self, username: str) -> bool:
        """Whether this user owns the queue; the case of names does not count."""
        owner = (self.owner or "").strip().lower()
        return bool(owner) and owner == username.strip().lower()

    def has_member(self, username: str) -> bool:
        """Whether the queue is assigned to this user."""
        return username.strip().lower() in self.members


class Owners(NamedTuple):
    """The experiment of each thing that exists, and whether each registered model is a prompt.

    `datasets` has those that are linked to experiments, whose ids are as the clients wrote them;
    `online_scorers` those that score traces, with the ids of experiments. `endpoint_names` has the
    ids of gateway endpoints, `guardrails` the scorers that they run, as grants name them.
    `endpoint_experiments` has the experiments in which gateway endpoints record their calls.
    """

    runs: Mapping[str, str]
    logged_models: Mapping[str, str]
    traces: Mapping[str, str]
    experiment_names: Mapping[str, str]
    models: Mapping[str, bool]
    datasets: Mapping[str, Collection[str]] = MappingProxyType({})
    issues: Mapping[str, str] = MappingProxyType({})
    label_schemas: Mapping[str, str] = MappingProxyType({})
    jobs: Mapping[str, JobOwner] = MappingProxyType({})
    endpoint_names: Mapping[str, str] = MappingProxyType({})
    guardrails: Mapping[str, str] = MappingProxyType({})
    online_scorers: Mapping[str, Collection[str]] = MappingProxyType({})
    queues: Mapping[str, Queue] = MappingProxyType({})
    endpoint_experiments: Mapping[str, str] = MappingProxyType({})


async def find(tx: Tx, wanted: OwnerKeys) -> Owners:
    """Look up the owners. Deleted runs and experiments exist, deleted logged models do not."""
    return Owners(
        await _experiments(tx, OF_RUNS, wanted.runs),
        await _experiments(tx, OF_LOGGED_MODELS, wanted.logged_models, "logged_models"),
        await _experiments(tx, OF_TRACES, wanted.traces, "trace_info"),
        await _experiments(tx, OF_NAMES, wanted.experiment_names),
        await _kinds(tx, wanted.models),
        await _links(tx, OF_DATASETS, wanted.datasets, "entity_associations"),
        await _experiments(tx, OF_ISSUES, wanted.issues, "issues"),
        await _experiments(tx, OF_LABEL_SCHEMAS, wanted.label_schemas, "label_schemas"),
        await _jobs(tx, wanted.jobs),
        await _endpoints(tx, wanted.endpoint_names),
        await _scorers(tx, wanted.guardrails),
        await _links(tx, OF_ONLINE_SCORERS, wanted.online_scorers, "online_scoring_configs"),
        await _queues(tx, wanted.queues, wanted.queue_names),
        await _given_experiments(tx, wanted.endpoints),
    )


async def _jobs(tx: Tx, ids: Collection[str]) -> dict[str, JobOwner]:
    if not ids or not tx.schema.has("jobs", "creator"):
        return {}
    rows = await tx.fetch(OF_JOBS, tx.array(list(ids)))
    return {row[0]: JobOwner(row[1], _experiment_in(row[2])) for row in rows}


def _experiment_in(params: str) -> str | None:
    """The experiment in the parameters of a job, which are JSON."""
    experiment_id = json.loads(params).get("experiment_id")
    return experiment_id if isinstance(experiment_id, str) and experiment_id else None


async def _endpoints(tx: Tx, names: Collection[str]) -> dict[str, str]:
    if not names or not tx.schema.has("endpoints", "workspace"):
        return {}
    return {row[0]: row[1] for row in await tx.fetch(OF_ENDPOINT_NAMES, tx.array(list(names)))}


async def _scorers(tx: Tx, guardrail_ids: Collection[str]) -> dict[str, str]:
    if not guardrail_ids or not tx.schema.has("guardrails"):
        return {}
    rows = await tx.fetch(OF_GUARDRAILS, tx.array(list(guardrail_ids)))
    return {row[0]: scorer_id(str(row[1]), row[2]) for row in rows}


async def _links(tx: Tx, statement: Sql, ids: Collection[str], table: str) -> dict[str, list[str]]:
    if not ids or not tx.schema.has(table):
        return {}
    found: dict[str, list[str]] = {}
    for id_, experiment_id in await tx.fetch(statement, tx.array(list(ids))):
        found.setdefault(id_, []).append(str(experiment_id))
    return found


async def _queues(tx: Tx, ids: Collection[str], names: Collection[str]) -> dict[str, Queue]:
    """The queues with these ids and names, by what they were asked for by."""
    if not (ids or names) or not tx.schema.has("review_queues", "name_key"):
        return {}
    rows = {row[0]: row for row in await tx.fetch(OF_QUEUES, tx.array(list(ids)))} if ids else {}
    for name in names:
        experiment_id, _, key = name.partition("/")
        if experiment_id.isdecimal() and int(experiment_id) <= MAX_ID:
            row = await tx.fetchrow(OF_QUEUE_NAME, int(experiment_id), key)
            if row is not None:
                rows[name] = row
    members: dict[str, list[str]] = {}
    for queue_id, user in await tx.fetch(MEMBERS, tx.array([row[0] for row in rows.values()])):
        members.setdefault(queue_id, []).append(user)
    return {
        asked: Queue(str(row[1]), row[2], row[3], members.get(row[0], ()))
        for asked, row in rows.items()
    }


async def _experiments(
    tx: Tx, statement: Sql, ids: Collection[str], table: str | None = None
) -> dict[str, str]:
    if not ids or (table is not None and not tx.schema.has(table)):
        return {}
    return {row[0]: str(row[1]) for row in await tx.fetch(statement, tx.array(list(ids)))}


async def _given_experiments(tx: Tx, endpoint_ids: Collection[str]) -> dict[str, str]:
    if not tx.schema.has("endpoints", "experiment_id"):
        return {}
    return await _experiments(tx, OF_ENDPOINTS, endpoint_ids)


async def _kinds(tx: Tx, names: Collection[str]) -> dict[str, bool]:
    if not names:
        return {}
    has_workspaces = tx.schema.has("registered_models", "workspace")
    statement = KINDS if has_workspaces else KINDS_WITHOUT_WORKSPACES
    rows = await tx.fetch(statement, tx.array(list(names)))
    return {row[0]: (row[1] or "").lower() == "true" for row in rows}
