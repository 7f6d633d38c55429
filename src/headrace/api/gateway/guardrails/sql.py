"""SQL for guardrails and their use by endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.db.sql import Sql
from headrace.search import Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.db.base import Row, Tx


class GuardrailRow(NamedTuple):
    """A row of `guardrails` with its scorer's version and the name of the endpoint that it uses."""

    guardrail_id: str
    name: str
    scorer_id: str
    scorer_version: int
    stage: str
    action: str
    created_by: str | None
    created_at: int
    last_updated_by: str | None
    last_updated_at: int
    experiment_id: int
    scorer_name: str
    serialized_scorer: str
    creation_time: int | None
    endpoint_name: str | None


class ConfigRow(NamedTuple):
    """A row of `guardrail_configs`."""

    endpoint_id: str
    guardrail_id: str
    execution_order: int | None
    created_by: str | None
    created_at: int


class ConfigKey(NamedTuple):
    """The place of a guardrail in the list of an endpoint: first those with an order."""

    is_last: int  # 1 without an order
    execution_order: int
    guardrail_id: str


_GUARDRAIL: Final = (
    "SELECT g.guardrail_id, g.name, g.scorer_id, g.scorer_version, g.stage, g.action, g.created_by,"
    " g.created_at, g.last_updated_by, g.last_updated_at, s.experiment_id, s.scorer_name,"
    " v.serialized_scorer, v.creation_time, e.name FROM guardrails g"
    " JOIN scorer_versions v ON v.scorer_id = g.scorer_id AND v.scorer_version = g.scorer_version"
    " JOIN scorers s ON s.scorer_id = g.scorer_id"
    " LEFT JOIN endpoints e ON e.endpoint_id = g.action_endpoint_id"
)
BY_ID = Sql(f"{_GUARDRAIL} WHERE g.workspace = {{workspace}} AND g.guardrail_id = $1")
BY_IDS = Sql(f"{_GUARDRAIL} WHERE g.workspace = {{workspace}} AND g.guardrail_id {{in $1 text}}")
SHARED = Sql(
    "SELECT 1 FROM guardrails WHERE workspace = {workspace} AND guardrail_id = $1 {for share}"
)
INSERT = Sql(
    "INSERT INTO guardrails (guardrail_id, name, scorer_id, scorer_version, stage, action,"
    " action_endpoint_id, created_by, created_at, last_updated_by, last_updated_at, workspace)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8, $9, {workspace})"
)
LOCKED_TO_DELETE = Sql(
    "SELECT 1 FROM guardrails WHERE workspace = {workspace} AND guardrail_id = $1 {for delete}"
)
DELETE_CONFIGS = Sql(
    "DELETE FROM guardrail_configs WHERE workspace = {workspace} AND guardrail_id = $1"
)
DELETE = Sql("DELETE FROM guardrails WHERE workspace = {workspace} AND guardrail_id = $1")
_PAGE: Final = (
    "SELECT guardrail_id FROM guardrails WHERE workspace = {workspace}"
    " ORDER BY guardrail_id {bytewise} LIMIT $1 OFFSET $2"
)
WEIGHTS = Sql(
    "SELECT g.guardrail_id, {bytes v.serialized_scorer} FROM guardrails g JOIN scorer_versions v"
    " ON v.scorer_id = g.scorer_id AND v.scorer_version = g.scorer_version"
    " WHERE g.workspace = {workspace} AND g.guardrail_id {in $1 text}"
)
# The version of a scorer that a guardrail will run: it stays until the transaction ends.
SCORER = Sql("SELECT 1 FROM scorers WHERE scorer_id = $1")
VERSION = Sql(
    "SELECT serialized_scorer FROM scorer_versions WHERE scorer_id = $1 AND scorer_version = $2"
    " {for share}"
)

_COLUMNS: Final = ", ".join(ConfigRow._fields)
CONFIG = Sql(
    f"SELECT {_COLUMNS} FROM guardrail_configs"
    " WHERE workspace = {workspace} AND endpoint_id = $1 AND guardrail_id = $2"
)
CONFIGS = Sql(
    f"SELECT {_COLUMNS} FROM guardrail_configs"
    " WHERE workspace = {workspace} AND endpoint_id = $1 AND guardrail_id {in $2 text}"
)
INSERT_CONFIG = Sql(
    f"INSERT INTO guardrail_configs ({_COLUMNS}, workspace) VALUES ($1, $2, $3, $4, $5, {{workspace}})"
)
SET_ORDER = Sql(
    "UPDATE guardrail_configs SET execution_order = $3"
    " WHERE workspace = {workspace} AND endpoint_id = $1 AND guardrail_id = $2"
)
DELETE_CONFIG = Sql(
    "DELETE FROM guardrail_configs"
    " WHERE workspace = {workspace} AND endpoint_id = $1 AND guardrail_id = $2"
)
_PLACES: Final = (
    "SELECT is_last, place, guardrail_id FROM (SELECT CASE WHEN execution_order IS NULL THEN 1 ELSE 0 END AS is_last,"
    " coalesce(execution_order, 0) AS place, guardrail_id FROM guardrail_configs"
    " WHERE workspace = {workspace} AND endpoint_id = $1) c"
)
_IN_ORDER: Final = " ORDER BY is_last, place, guardrail_id {bytewise} LIMIT "
FIRST_PLACES = Sql(f"{_PLACES}{_IN_ORDER}$2")
NEXT_PLACES = Sql(
    f"{_PLACES} WHERE (is_last, place, guardrail_id {{bytewise}}) > ($3, $4, $5){_IN_ORDER}$2"
)


def page(max_results: int, offset: int) -> Page:
    """The ids of a page of guardrails."""
    return Page(_PAGE, (max_results + 1, offset), offset, max_results)


async def read(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """Return the guardrails with these ids that exist, in this order."""
    rows = {row[0]: row for row in await tx.fetch(BY_IDS, tx.array(ids))}
    return [rows[id_] for id_ in ids if id_ in rows]


async def weigh(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of each guardrail."""
    return {id_: int(size) for id_, size in await tx.fetch(WEIGHTS, tx.array(ids))}


async def places(tx: Tx, endpoint_id: str, after: ConfigKey | None, limit: int) -> list[ConfigKey]:
    """Return the next guardrails of an endpoint, in the order in which they run."""
    if after is None:
        rows = await tx.fetch(FIRST_PLACES, endpoint_id, limit)
    else:
        rows = await tx.fetch(NEXT_PLACES, endpoint_id, limit, *after)
    return [ConfigKey(*row) for row in rows]


async def configs(
    tx: Tx, endpoint_id: str, ids: Sequence[str]
) -> list[tuple[ConfigRow, GuardrailRow]]:
    """Return the guardrails with these ids that the endpoint uses, in this order."""
    rows = {row[1]: ConfigRow(*row) for row in await tx.fetch(CONFIGS, endpoint_id, tx.array(ids))}
    guardrails = [GuardrailRow(*row) for row in await read(tx, ids)]
    return [
        (rows[guardrail.guardrail_id], guardrail)
        for guardrail in guardrails
        if guardrail.guardrail_id in rows
    ]
