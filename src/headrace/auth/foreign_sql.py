"""SQL for the workspaces of ids. A row that belongs to an experiment is in the workspace of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Collection

    from headrace.db.base import Tx

Kind = Literal[
    "budget_policy",
    "dataset",
    "endpoint",
    "experiment",
    "guardrail",
    "issue",
    "job",
    "label_schema",
    "logged_model",
    "model_definition",
    "review_queue",
    "run",
    "scorer",
    "secret",
    "trace",
    "webhook",
]
# An id, and what it is the id of. The ids of experiments are numbers without leading zeros.
Key = tuple[Kind, str]


class Table(NamedTuple):
    """A table of things with ids: its key, and the statement that finds their workspaces."""

    name: str
    key: str
    workspaces: Sql


def _own(name: str, key: str) -> Table:
    """A table with a column for the workspace."""
    return Table(name, key, Sql(f"SELECT {key}, workspace FROM {name} WHERE {key} {{in $1 text}}"))


def _of_experiment(name: str, key: str) -> Table:
    """A table whose rows belong to experiments."""
    text = (
        f"SELECT t.{key}, e.workspace FROM {name} t"
        f" JOIN experiments e ON e.experiment_id = t.experiment_id WHERE t.{key} {{in $1 text}}"
    )
    return Table(name, key, Sql(text))


TABLES: Final[dict[Kind, Table]] = {
    "experiment": Table(
        "experiments",
        "experiment_id",
        Sql("SELECT experiment_id, workspace FROM experiments WHERE experiment_id {in $1 int}"),
    ),
    "run": _of_experiment("runs", "run_uuid"),
    "logged_model": _of_experiment("logged_models", "model_id"),
    "trace": _of_experiment("trace_info", "request_id"),
    "issue": _of_experiment("issues", "issue_id"),
    "label_schema": _of_experiment("label_schemas", "schema_id"),
    "review_queue": _of_experiment("review_queues", "queue_id"),
    "scorer": _of_experiment("scorers", "scorer_id"),
    "dataset": _own("evaluation_datasets", "dataset_id"),
    "job": _own("jobs", "id"),
    "webhook": _own("webhooks", "webhook_id"),
    "secret": _own("secrets", "secret_id"),
    "model_definition": _own("model_definitions", "model_definition_id"),
    "endpoint": _own("endpoints", "endpoint_id"),
    "budget_policy": _own("budget_policies", "budget_policy_id"),
    "guardrail": _own("guardrails", "guardrail_id"),
}


async def find(tx: Tx, keys: Collection[Key]) -> dict[Key, str]:
    """The workspaces of the ids that exist."""
    wanted: dict[Kind, list[str]] = {}
    for kind, id_ in keys:
        wanted.setdefault(kind, []).append(id_)
    found: dict[Key, str] = {}
    for kind, ids in wanted.items():
        table = TABLES[kind]
        if not tx.schema.has(table.name, table.key):
            continue
        given = [int(id_) for id_ in ids] if kind == "experiment" else ids
        for row in await tx.fetch(table.workspaces, tx.array(given)):
            found[kind, str(row[0])] = row[1]
    return found
