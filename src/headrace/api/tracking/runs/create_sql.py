"""SQL of create-run: on PostgreSQL one statement for the runs of a group and their tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from headrace.contract.artifact_uri import PLAIN
from headrace.db.base import Row, Tx
from headrace.db.sql import LIMITS_LOCKS, Bulk, Sql

RunIn = tuple[str, int, str, str, int, str | None]  # the columns of INSERT_RUN
Tag = tuple[str, str, str]  # run, key, value


class Location(NamedTuple):
    """An experiment's artifact location, and its stage, which determines if runs may be added."""

    experiment_id: int
    artifact_location: str | None
    lifecycle_stage: str


Locations = dict[int, Location]  # of the existing experiments

# None of the experiments can be deleted until the transaction ends.
_LOCATIONS: Final = (
    "SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments"
    " WHERE experiment_id {in $1 int}"
)
LOCATIONS: Final = Sql(_LOCATIONS + " {for share}")
_FIXED: Final = {
    "source_type": "'UNKNOWN'",
    "source_name": "''",
    "entry_point_name": "''",
    "status": "'RUNNING'",
    "source_version": "''",
    "lifecycle_stage": "'active'",
}
# The ids are new: a conflict means that an earlier COMMIT succeeded and its answer was lost.
INSERT_RUN: Final = Bulk(
    "runs",
    run_uuid="text",
    experiment_id="int",
    name="text",
    user_id="text",
    start_time="bigint",
    artifact_uri="text",
    fixed=_FIXED,
    on_conflict="ignore",
)
INSERT_TAG: Final = Bulk("tags", run_uuid="text", key="text", value="text")


# $2-$6 are columns of INSERT_RUN; $7 are the artifact URIs, or NULLs: then the statement makes them
# from the locations, and writes nothing if one of the active experiments has a location that is not
# plain. One round trip instead of four: BEGIN, the locations, the rows, COMMIT.
def _statement(limit: str) -> Sql:
    return Sql(
        postgres=f"""
WITH place AS MATERIALIZED (
    {_LOCATIONS}{limit} {{for share}}
), new AS (
    INSERT INTO runs ({", ".join([*INSERT_RUN.columns, *_FIXED])})
    SELECT r.run_uuid, r.experiment_id, r.name, r.user_id, r.start_time,
           coalesce(r.artifact_uri, place.artifact_location || '/' || r.run_uuid || '/artifacts'),
           {", ".join(_FIXED.values())}
    FROM unnest($2::varchar[], $3::int[], $4::varchar[], $5::varchar[], $6::bigint[], $7::varchar[])
         AS r(run_uuid, experiment_id, name, user_id, start_time, artifact_uri)
    JOIN place USING (experiment_id)
    WHERE place.lifecycle_stage = 'active' AND (r.artifact_uri IS NOT NULL OR NOT EXISTS (
        SELECT FROM place WHERE lifecycle_stage = 'active' AND (artifact_location ~ '^{PLAIN.pattern}$') IS NOT TRUE))
    {INSERT_RUN.clause} RETURNING run_uuid
), tag AS (
    INSERT INTO tags (run_uuid, key, value)
    SELECT t.* FROM unnest($8::varchar[], $9::varchar[], $10::varchar[]) AS t(run_uuid, key, value)
    WHERE t.run_uuid IN (SELECT run_uuid FROM new)
) SELECT experiment_id, artifact_location, lifecycle_stage FROM place"""
    )


CREATE_ALONE: Final = _statement(LIMITS_LOCKS)
CREATE: Final = _statement("")  # inside a transaction


async def try_create(
    tx: Tx, experiment_ids: Sequence[int], runs: Sequence[RunIn], tags: Sequence[Tag]
) -> tuple[Locations, bool]:
    """Insert new runs without artifact URIs if one statement can make the URIs.

    Returns the locations of the existing experiments, and whether the runs of the active ones are
    inserted. Each run has at least one tag.
    """
    if tx.dialect == "sqlite" or not runs:
        return _locations(await tx.fetch(LOCATIONS, tx.array(experiment_ids))), False
    locations = await _create(tx, experiment_ids, runs, tags)
    return locations, all(
        PLAIN.fullmatch(location.artifact_location or "") is not None
        for location in locations.values()
        if location.lifecycle_stage == "active"
    )


async def create(
    tx: Tx, locations: Locations, runs: Sequence[RunIn], tags: Sequence[Tag]
) -> Locations:
    """Insert new runs with artifact URIs; return the locations as they are now.

    No run is inserted whose experiment is not active any more, or which the group's first COMMIT
    inserted although its answer was lost.
    """
    if tx.dialect == "postgres":
        return await _create(tx, sorted(locations), runs, tags)
    if await tx.executemany(INSERT_RUN, runs):
        await tx.executemany(INSERT_TAG, tags)
    return locations


async def _create(
    tx: Tx, experiment_ids: Sequence[int], runs: Sequence[RunIn], tags: Sequence[Tag]
) -> Locations:
    sql = CREATE_ALONE if tx.alone else CREATE
    columns = (*zip(*runs, strict=True), *zip(*tags, strict=True))
    rows = await tx.fetch(sql, experiment_ids, *columns)
    tx.wrote(len(runs))
    return _locations(rows)


def _locations(rows: Sequence[Row]) -> Locations:
    return {row[0]: Location(*row) for row in rows}
