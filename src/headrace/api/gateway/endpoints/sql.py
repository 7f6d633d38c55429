"""SQL for gateway endpoints, their models and tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.api.gateway.model_definitions.sql import DefinitionRow, definition
from headrace.db.sql import Bulk, Sql, statement
from headrace.search.compile import Parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.api.gateway.model_definitions.sql import Definition
    from headrace.auth.access import Scope
    from headrace.db.base import Row, Tx


class EndpointRow(NamedTuple):
    """A row of `endpoints`. Times are milliseconds since the epoch."""

    endpoint_id: str
    name: str | None
    created_by: str | None
    created_at: int
    last_updated_by: str | None
    last_updated_at: int
    routing_strategy: str | None
    fallback_config_json: str | None
    experiment_id: int | None
    usage_tracking: bool


class MappingRow(NamedTuple):
    """A row of `endpoint_model_mappings`."""

    mapping_id: str
    endpoint_id: str
    model_definition_id: str
    weight: float
    created_by: str | None
    created_at: int
    linkage_type: str
    fallback_order: int | None


class Attached(NamedTuple):
    """A model of an endpoint."""

    row: MappingRow
    definition: Definition


class Found(NamedTuple):
    """Some endpoints, their models, and their tags as (endpoint_id, key, value)."""

    rows: Sequence[EndpointRow]
    models: Sequence[Attached]
    tags: Sequence[Row]


_COLUMNS: Final = ", ".join(EndpointRow._fields)
BY_ID = Sql(
    f"SELECT {_COLUMNS} FROM endpoints WHERE workspace = {{workspace}} AND endpoint_id = $1"
)
BY_IDS = Sql(
    f"SELECT {_COLUMNS} FROM endpoints WHERE workspace = {{workspace}} AND endpoint_id {{in $1 text}}"
)
# Names are unique in a workspace; without workspaces there is only this one.
ID_OF = Sql("SELECT endpoint_id FROM endpoints WHERE workspace = {workspace} AND name = $1")
LOCKED = Sql(
    f"SELECT {_COLUMNS} FROM endpoints WHERE workspace = {{workspace}} AND endpoint_id = $1 {{for update}}"
)
LOCKED_TO_DELETE = Sql(
    "SELECT 1 FROM endpoints WHERE workspace = {workspace} AND endpoint_id = $1 {for delete}"
)
SHARED = Sql(
    "SELECT 1 FROM endpoints WHERE workspace = {workspace} AND endpoint_id = $1 {for share}"
)
INSERT = Sql(
    f"INSERT INTO endpoints ({_COLUMNS}, workspace)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, {workspace})"
)
UPDATE = Sql(
    "UPDATE endpoints SET name = $2, last_updated_by = $3, last_updated_at = $4, routing_strategy = $5,"
    " fallback_config_json = $6, experiment_id = $7, usage_tracking = $8"
    " WHERE workspace = {workspace} AND endpoint_id = $1"
)
TOUCH = Sql(
    "UPDATE endpoints SET last_updated_at = $2, last_updated_by = coalesce($3, last_updated_by)"
    " WHERE workspace = {workspace} AND endpoint_id = $1"
)
# The rows that refer to an endpoint, in the order in which a deletion changes the tables.
FORGET: Final = {
    "guardrail_configs": Sql(
        "DELETE FROM guardrail_configs WHERE workspace = {workspace} AND endpoint_id = $1"
    ),
    "guardrails": Sql(
        "UPDATE guardrails SET action_endpoint_id = NULL"
        " WHERE workspace = {workspace} AND action_endpoint_id = $1"
    ),
    "endpoint_bindings": Sql("DELETE FROM endpoint_bindings WHERE endpoint_id = $1"),
    "endpoint_model_mappings": Sql("DELETE FROM endpoint_model_mappings WHERE endpoint_id = $1"),
    "endpoint_tags": Sql("DELETE FROM endpoint_tags WHERE endpoint_id = $1"),
}
DELETE = Sql("DELETE FROM endpoints WHERE workspace = {workspace} AND endpoint_id = $1")

# In the order in which they were attached.
MODELS = Sql(
    f"SELECT {', '.join(f'm.{name}' for name in MappingRow._fields)},"
    f" {', '.join(f'd.{name}' for name in DefinitionRow._fields)}, s.secret_name"
    " FROM endpoint_model_mappings m JOIN model_definitions d"
    " ON d.model_definition_id = m.model_definition_id LEFT JOIN secrets s ON s.secret_id = d.secret_id"
    " WHERE d.workspace = {workspace} AND m.endpoint_id {in $1 text} ORDER BY m.endpoint_id, m.{stored}"
)
INSERT_MAPPING = Bulk(
    "endpoint_model_mappings",
    mapping_id="text",
    endpoint_id="text",
    model_definition_id="text",
    weight="double",
    created_by="text",
    created_at="bigint",
    linkage_type="text",
    fallback_order="int",
)
# The model's linkage that is removed first, as SQLite finds it.
FIRST_LINKAGE = Sql(
    "SELECT mapping_id FROM endpoint_model_mappings WHERE endpoint_id = $1 AND model_definition_id = $2"
    " ORDER BY linkage_type LIMIT 1 {for delete}"
)
DETACH = Sql("DELETE FROM endpoint_model_mappings WHERE mapping_id = $1")
DETACH_ALL = FORGET["endpoint_model_mappings"]
KNOWN_DEFINITIONS = Sql(
    "SELECT model_definition_id FROM model_definitions WHERE workspace = {workspace}"
    " AND model_definition_id {in $1 text} {for share}"
)

TAGS = Sql(
    "SELECT endpoint_id, key, value FROM endpoint_tags WHERE endpoint_id {in $1 text}"
    " ORDER BY endpoint_id, {stored}"
)
SET_TAG = Sql(
    "INSERT INTO endpoint_tags (endpoint_id, key, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (key, endpoint_id) DO UPDATE SET value = EXCLUDED.value"
)
DELETE_TAG = Sql("DELETE FROM endpoint_tags WHERE endpoint_id = $1 AND key = $2")
WEIGHTS = Sql(  # bytes of each endpoint's models (about 600 each) and tags
    "SELECT e.endpoint_id, 600 * (SELECT count(*) FROM endpoint_model_mappings m WHERE m.endpoint_id = e.endpoint_id)"
    " + coalesce((SELECT sum({bytes t.key} + coalesce({bytes t.value}, 0)) FROM endpoint_tags t"
    " WHERE t.endpoint_id = e.endpoint_id), 0) FROM endpoints e"
    " WHERE e.workspace = {workspace} AND e.endpoint_id {in $1 text}"
)

# The experiment that receives an endpoint's traces.
EXPERIMENT_NAMED = Sql("SELECT experiment_id FROM experiments WHERE {in workspace}name = $1")
INSERT_EXPERIMENT = Sql(  # no row if the name is taken
    "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time,"
    " last_update_time{workspace column}) VALUES ($1, '', 'active', $2, $2{workspace value})"
    " ON CONFLICT DO NOTHING RETURNING experiment_id"
)
SET_LOCATION = Sql(
    "UPDATE experiments SET artifact_location = $2 WHERE {in workspace}experiment_id = $1"
)
INSERT_EXPERIMENT_TAG = Bulk("experiment_tags", experiment_id="int", key="text", value="text")


async def by_id(tx: Tx, endpoint_id: str, statement: Sql = BY_ID) -> EndpointRow | None:
    """Return an endpoint that the statement (BY_ID, LOCKED) finds."""
    row = await tx.fetchrow(statement, endpoint_id)
    return None if row is None else EndpointRow(*row)


async def read(tx: Tx, ids: Sequence[str]) -> Found:
    """Return the endpoints with these ids that exist, in this order, with models and tags."""
    wanted = tx.array(ids)
    by_id = {row[0]: EndpointRow(*row) for row in await tx.fetch(BY_IDS, wanted)}
    models = [_attached(row) for row in await tx.fetch(MODELS, wanted)]
    tags = await tx.fetch(TAGS, wanted)
    return Found([by_id[id_] for id_ in ids if id_ in by_id], models, tags)


def _attached(row: Row) -> Attached:
    count = len(MappingRow._fields)
    return Attached(MappingRow(*row[:count]), definition(row[count:]))


async def weigh(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of each endpoint."""
    return {id_: int(size) for id_, size in await tx.fetch(WEIGHTS, tx.array(ids))}


class EndpointKey(NamedTuple):
    """The place of an endpoint in a list."""

    created_at: int
    endpoint_id: str


async def places(
    tx: Tx, provider: str | None, readable: Scope | None, after: EndpointKey | None, limit: int
) -> list[EndpointKey]:
    """Return the next endpoints of a list, the oldest first.

    Endpoints without a model are left out. `provider`: only endpoints with a model of it. `readable`
    has those that the caller may read.
    """
    parameters = Parameters(tx.dialect)
    models = "SELECT 1 FROM endpoint_model_mappings m WHERE m.endpoint_id = e.endpoint_id"
    if provider:
        models = (
            "SELECT 1 FROM endpoint_model_mappings m JOIN model_definitions d"
            " ON d.model_definition_id = m.model_definition_id"
            f" WHERE m.endpoint_id = e.endpoint_id AND d.provider = {parameters.add(provider)}"
        )
    where = ["e.workspace = {workspace}", f"EXISTS ({models})"]
    if readable is not None:
        where.append(parameters.readable("e.endpoint_id", readable))
    if after is not None:
        time, id_ = map(parameters.add, after)
        where.append(
            f"(e.created_at > {time} OR (e.created_at = {time} AND e.endpoint_id {{bytewise}} > {id_}))"
        )
    text = (
        f"SELECT e.created_at, e.endpoint_id FROM endpoints e WHERE {' AND '.join(where)}"
        f" ORDER BY e.created_at, e.endpoint_id {{bytewise}} LIMIT {parameters.add(limit)}"
    )
    args: list[Any] = parameters.values
    return [EndpointKey(*row) for row in await tx.fetch(statement(text), *args)]
