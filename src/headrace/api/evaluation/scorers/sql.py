"""SQL for scorers, their versions and their online configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.results import NotNative
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.db.base import Row, Schema, Tx


class ScorerRow(NamedTuple):
    """A version of a scorer; its time in milliseconds since the epoch."""

    experiment_id: int
    scorer_name: str
    scorer_version: int
    serialized_scorer: str
    creation_time: int | None
    scorer_id: str


class OnlineRow(NamedTuple):
    """A row of `online_scoring_configs`."""

    online_scoring_config_id: str
    scorer_id: str
    sample_rate: float
    experiment_id: int
    filter_string: str | None


STAGE = Sql("SELECT lifecycle_stage FROM experiments WHERE {in workspace}experiment_id = $1")
_VERSIONS: Final = (
    "SELECT s.experiment_id, s.scorer_name, v.scorer_version, v.serialized_scorer, v.creation_time,"
    " s.scorer_id FROM scorers s JOIN scorer_versions v ON v.scorer_id = s.scorer_id WHERE "
)
_BY_NAME: Final = "s.experiment_id = $1 AND s.scorer_name = $2"
_NEWEST: Final = (
    "v.scorer_version = (SELECT max(x.scorer_version) FROM scorer_versions x"
    " WHERE x.scorer_id = v.scorer_id)"
)
LATEST = Sql(f"{_VERSIONS}{_BY_NAME} ORDER BY v.scorer_version DESC LIMIT 1")
VERSION = Sql(f"{_VERSIONS}{_BY_NAME} AND v.scorer_version = $3")
LATEST_OF = Sql(f"{_VERSIONS}s.scorer_id {{in $1 text}} AND {_NEWEST}")
LATEST_WEIGHTS = Sql(
    "SELECT v.scorer_id, {bytes v.serialized_scorer} FROM scorer_versions v"
    f" WHERE v.scorer_id {{in $1 text}} AND {_NEWEST}"
)
NUMBERS = Sql(  # of all versions of a scorer
    "SELECT v.scorer_id, v.scorer_version FROM scorers s JOIN scorer_versions v"
    f" ON v.scorer_id = s.scorer_id WHERE {_BY_NAME} ORDER BY v.scorer_version"
)
VERSIONS_OF = Sql(
    f"{_VERSIONS}s.scorer_id = $1 AND v.scorer_version {{in $2 int}} ORDER BY v.scorer_version"
)
WEIGHTS_OF = Sql(
    "SELECT scorer_version, {bytes serialized_scorer} FROM scorer_versions"
    " WHERE scorer_id = $1 AND scorer_version {in $2 int}"
)
# (experiment, name, id) of the next scorers of active experiments.
_NEXT: Final = (
    "SELECT s.experiment_id, s.scorer_name, s.scorer_id FROM scorers s JOIN experiments e"
    " ON e.experiment_id = s.experiment_id AND e.lifecycle_stage = 'active'"
    " WHERE {{in workspace e}}{}(s.experiment_id > $1 OR (s.experiment_id = $1 AND s.scorer_name {{bytewise}} > $2))"
    " ORDER BY s.experiment_id, s.scorer_name {{bytewise}} LIMIT $3"
)
NEXT = Sql(_NEXT.format(""))
NEXT_OF = Sql(_NEXT.format("s.experiment_id {in $4 int} AND "))
EXISTS = Sql("SELECT 1 FROM scorers WHERE experiment_id = $1 AND scorer_name = $2")
LOCKED = Sql(
    "SELECT scorer_id FROM scorers WHERE experiment_id = $1 AND scorer_name = $2 {for update}"
)
LOCKED_TO_DELETE = Sql(
    "SELECT scorer_id FROM scorers WHERE experiment_id = $1 AND scorer_name = $2 {for delete}"
)
INSERT = Sql(
    "INSERT INTO scorers (experiment_id, scorer_name, scorer_id) VALUES ($1, $2, $3)"
    " ON CONFLICT DO NOTHING"
)
LAST_NUMBER = Sql("SELECT max(scorer_version) FROM scorer_versions WHERE scorer_id = $1")
INSERT_VERSION = Sql(
    "INSERT INTO scorer_versions (scorer_id, scorer_version, serialized_scorer, creation_time)"
    " VALUES ($1, $2, $3, $4)"
)
DELETE_VERSION = Sql("DELETE FROM scorer_versions WHERE scorer_id = $1 AND scorer_version = $2")
DELETE_VERSIONS = Sql("DELETE FROM scorer_versions WHERE scorer_id = $1")
DELETE = Sql("DELETE FROM scorers WHERE scorer_id = $1")
# The gateway's endpoint that a scorer uses.
ENDPOINT_ID = Sql(
    "SELECT endpoint_id FROM endpoints WHERE workspace = {workspace} AND name = $1 {for share}"
)
ENDPOINT_NAMES = Sql(
    "SELECT endpoint_id, name FROM endpoints WHERE workspace = {workspace}"
    " AND endpoint_id {in $1 text}"
)
# Lists look for the name among the endpoints that have a model, as in stock.
NAMES_WITH_MODEL = Sql(
    "SELECT e.endpoint_id, e.name FROM endpoints e WHERE e.workspace = {workspace}"
    " AND e.endpoint_id {in $1 text} AND EXISTS (SELECT 1 FROM endpoint_model_mappings m"
    " WHERE m.endpoint_id = e.endpoint_id)"
)
UNBIND = Sql("DELETE FROM endpoint_bindings WHERE resource_type = 'scorer' AND resource_id = $1")
BIND = Sql(
    "INSERT INTO endpoint_bindings (endpoint_id, resource_type, resource_id, display_name,"
    " created_at, last_updated_at) VALUES ($1, 'scorer', $2, $3, $4, $4)"
)
_ONLINE: Final = ", ".join(OnlineRow._fields)
ONLINE = Sql(
    f"SELECT {_ONLINE} FROM online_scoring_configs WHERE scorer_id {{in $1 text}} ORDER BY {{stored}}"
)
DELETE_ONLINE = Sql("DELETE FROM online_scoring_configs WHERE scorer_id = $1")
INSERT_ONLINE = Sql(f"INSERT INTO online_scoring_configs ({_ONLINE}) VALUES ($1, $2, $3, $4, $5)")


def check_served(schema: Schema) -> None:
    """Leave the request to stock MLflow if the database is older than MLflow 3.10."""
    has_configs = schema.has("online_scoring_configs", "experiment_id")
    if not (has_configs and schema.has("endpoints", "workspace")):
        raise NotNative


async def stage(tx: Tx, experiment_id: int) -> str | None:
    """The lifecycle stage of an experiment; None if it does not exist."""
    row = await tx.fetchrow(STAGE, experiment_id)
    return None if row is None else row[0]


async def version(tx: Tx, experiment_id: int, name: str, number: int | None) -> ScorerRow | None:
    """Return a version of a scorer, without a number the latest one."""
    if number is None:
        row = await tx.fetchrow(LATEST, experiment_id, name)
    else:
        row = await tx.fetchrow(VERSION, experiment_id, name, number)
    return None if row is None else ScorerRow(*row)


async def latest(tx: Tx, ids: Sequence[str]) -> list[ScorerRow]:
    """Return the latest versions of these scorers, of those that have any, in this order."""
    rows = {row[5]: ScorerRow(*row) for row in await tx.fetch(LATEST_OF, tx.array(ids))}
    return [rows[id_] for id_ in ids if id_ in rows]


async def latest_weights(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of the latest version of each scorer."""
    return {row[0]: int(row[1]) for row in await tx.fetch(LATEST_WEIGHTS, tx.array(ids))}


async def versions(tx: Tx, numbers: Sequence[int], scorer_id: str) -> list[ScorerRow]:
    """Return these versions of a scorer, of those that exist."""
    rows = await tx.fetch(VERSIONS_OF, scorer_id, tx.array(numbers))
    return [ScorerRow(*row) for row in rows]


async def version_weights(tx: Tx, numbers: Sequence[int], scorer_id: str) -> Mapping[int, int]:
    """Return the number of bytes of each version of a scorer."""
    rows = await tx.fetch(WEIGHTS_OF, scorer_id, tx.array(numbers))
    return {row[0]: int(row[1]) for row in rows}


async def names_of_endpoints(tx: Tx, ids: Sequence[str], *, with_model: bool) -> Mapping[str, str]:
    """Return the names of the gateway's endpoints that exist; `with_model`: and have a model."""
    statement = NAMES_WITH_MODEL if with_model else ENDPOINT_NAMES
    rows = await tx.fetch(statement, tx.array(ids)) if ids else []
    return {row[0]: row[1] for row in rows}


async def next_keys(
    tx: Tx, after: tuple[int, str], limit: int, experiment_ids: Sequence[int] | None
) -> list[Row]:
    """Return experiment, name and id of the scorers after a place, of all active experiments or of these."""
    if experiment_ids is None:
        return await tx.fetch(NEXT, *after, limit)
    return await tx.fetch(NEXT_OF, *after, limit, tx.array(experiment_ids))
