"""SQL for the experiments that runs, traces and the like belong to, and the kind of models."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.auth.grantable import scorer_id
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
    "SELECT name, endpoint_id FROM endpoints WHERE workspace = 'default' AND name {in $1 text}"
)
OF_GUARDRAILS = Sql(
    "SELECT g.guardrail_id, s.experiment_id, s.scorer_name FROM guardrails g"
    " JOIN scorers s ON s.scorer_id = g.scorer_id WHERE g.guardrail_id {in $1 text}"
)
OF_NAMES = Sql("SELECT name, experiment_id FROM experiments WHERE name {in $1 text}")
_KINDS: Final = (
    "SELECT m.name, t.value FROM registered_models m LEFT JOIN registered_model_tags t"
    " ON {tag} t.key = '" + IS_PROMPT + "' AND t.name = m.name WHERE {model} m.name {{in $1 text}}"
)
# The name of each registered model, and the value of the tag that says whether it is a prompt.
# Every key of the registry begins with the workspace; older heads have none.
KINDS = Sql(_KINDS.format(tag="t.workspace = 'default' AND", model="m.workspace = 'default' AND"))
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


class Owners(NamedTuple):
    """The experiment of each thing that exists, and whether each registered model is a prompt.

    `datasets` has those that are linked to experiments, whose ids are as the clients wrote them.
    `endpoint_names` has the ids of gateway endpoints, `guardrails` the scorers that they run, as
    grants name them.
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


async def find(tx: Tx, wanted: OwnerKeys) -> Owners:
    """Look up the owners. Deleted runs and experiments exist, deleted logged models do not."""
    return Owners(
        await _experiments(tx, OF_RUNS, wanted.runs),
        await _experiments(tx, OF_LOGGED_MODELS, wanted.logged_models, "logged_models"),
        await _experiments(tx, OF_TRACES, wanted.traces, "trace_info"),
        await _experiments(tx, OF_NAMES, wanted.experiment_names),
        await _kinds(tx, wanted.models),
        await _links(tx, wanted.datasets),
        await _experiments(tx, OF_ISSUES, wanted.issues, "issues"),
        await _experiments(tx, OF_LABEL_SCHEMAS, wanted.label_schemas, "label_schemas"),
        await _jobs(tx, wanted.jobs),
        await _endpoints(tx, wanted.endpoint_names),
        await _scorers(tx, wanted.guardrails),
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


async def _links(tx: Tx, dataset_ids: Collection[str]) -> dict[str, list[str]]:
    if not dataset_ids or not tx.schema.has("entity_associations"):
        return {}
    found: dict[str, list[str]] = {}
    for dataset_id, experiment_id in await tx.fetch(OF_DATASETS, tx.array(list(dataset_ids))):
        found.setdefault(dataset_id, []).append(experiment_id)
    return found


async def _experiments(
    tx: Tx, statement: Sql, ids: Collection[str], table: str | None = None
) -> dict[str, str]:
    if not ids or (table is not None and not tx.schema.has(table)):
        return {}
    return {row[0]: str(row[1]) for row in await tx.fetch(statement, tx.array(list(ids)))}


async def _kinds(tx: Tx, names: Collection[str]) -> dict[str, bool]:
    if not names:
        return {}
    has_workspaces = tx.schema.has("registered_models", "workspace")
    statement = KINDS if has_workspaces else KINDS_WITHOUT_WORKSPACES
    rows = await tx.fetch(statement, tx.array(list(names)))
    return {row[0]: (row[1] or "").lower() == "true" for row in rows}
