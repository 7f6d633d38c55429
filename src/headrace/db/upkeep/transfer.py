"""SQL of `headrace import`: experiments and runs with given ids, times and stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.db.base import Tx

_COLUMNS: Final = (
    "name, artifact_location, lifecycle_stage, creation_time, last_update_time) VALUES"
)
INSERT_EXPERIMENT = Sql(
    f"INSERT INTO experiments ({_COLUMNS} ($1, '', 'active', $2, $3) RETURNING experiment_id"
)
INSERT_NUMBERED = Sql(
    f"INSERT INTO experiments (experiment_id, {_COLUMNS} ($1, $2, '', 'active', $3, $4)"
    " ON CONFLICT DO NOTHING RETURNING experiment_id"
)
# Later experiments get greater numbers. SQLite chooses them so by itself.
ADVANCE = Sql(
    postgres="SELECT setval(pg_get_serial_sequence('experiments', 'experiment_id'),"
    " greatest((SELECT max(experiment_id) FROM experiments), 1))"
)
SET_LOCATION = Sql("UPDATE experiments SET artifact_location = $2 WHERE experiment_id = $1")
UPSERT_TAG = Sql(
    "INSERT INTO experiment_tags (experiment_id, key, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (key, experiment_id) DO UPDATE SET value = EXCLUDED.value"
)
FIND_EXPERIMENT = Sql(
    "SELECT experiment_id, lifecycle_stage, artifact_location FROM experiments WHERE name = $1"
)
FINISH_EXPERIMENT = Sql(
    "UPDATE experiments SET lifecycle_stage = $2, last_update_time = coalesce($3, last_update_time),"
    " creation_time = CASE WHEN $4 < creation_time THEN $4 ELSE creation_time END"
    " WHERE experiment_id = $1"
)
FIND_RUN = Sql(
    "SELECT experiment_id, status, end_time, lifecycle_stage FROM runs WHERE run_uuid = $1"
)
SET_ARTIFACT_URI = Sql("UPDATE runs SET artifact_uri = $2 WHERE run_uuid = $1")
FINISH_RUN = Sql(
    "UPDATE runs SET status = $2, end_time = $3, lifecycle_stage = $4, deleted_time = $5,"
    " name = $6 WHERE run_uuid = $1"
)


class StoredExperiment(NamedTuple):
    """An experiment of the target."""

    experiment_id: int
    lifecycle_stage: str
    artifact_location: str


class StoredRun(NamedTuple):
    """A run of the target."""

    experiment_id: int
    status: str
    end_time: int | None
    lifecycle_stage: str


class NewExperiment(NamedTuple):
    """An experiment to create. `number`: its id, if it is free; `location` may be below `root`."""

    number: int | None
    name: str
    location: str | None
    root: str
    creation_time: int
    last_update_time: int


async def find_experiment(tx: Tx, name: str) -> StoredExperiment | None:
    """Return the experiment with a name, deleted or not."""
    row = await tx.fetchrow(FIND_EXPERIMENT, name)
    return None if row is None else StoredExperiment(*row)


async def create_experiment(tx: Tx, new: NewExperiment) -> StoredExperiment:
    """Create an active experiment, with its number unless another experiment has it."""
    row = None
    times = (new.creation_time, new.last_update_time)
    if new.number is not None:
        row = await tx.fetchrow(INSERT_NUMBERED, new.number, new.name, *times)
        if row is not None and tx.dialect == "postgres":
            await tx.fetch(ADVANCE)
    if row is None:
        row = await tx.fetchrow(INSERT_EXPERIMENT, new.name, *times)
    assert row is not None, "INSERT must return the id"
    location = new.location or f"{new.root.rstrip('/')}/{row[0]}"
    await tx.execute(SET_LOCATION, row[0], location)
    return StoredExperiment(row[0], "active", location)


async def tag_experiment(tx: Tx, number: int, tags: Iterable[tuple[str, str]]) -> None:
    """Set tags of an experiment."""
    for key, value in tags:
        await tx.execute(UPSERT_TAG, number, key, value)


async def finish_experiment(
    tx: Tx, number: int, stage: str, updated: int | None, created: int | None
) -> None:
    """Set the stage, the time of the last change and, if it is earlier, that of the creation."""
    await tx.execute(FINISH_EXPERIMENT, number, stage, updated, created)


async def find_run(tx: Tx, run_id: str) -> StoredRun | None:
    """Return a run, deleted or not."""
    row = await tx.fetchrow(FIND_RUN, run_id)
    return None if row is None else StoredRun(*row)


async def set_artifact_uri(tx: Tx, run_id: str, uri: str) -> None:
    """Set the artifact location of a run."""
    await tx.execute(SET_ARTIFACT_URI, run_id, uri)


async def finish_run(
    tx: Tx,
    run_id: str,
    status: str,
    end_time: int | None,
    stage: str,
    deleted: int | None,
    name: str,
) -> None:
    """Set what marks a run as complete, in one statement."""
    await tx.execute(FINISH_RUN, run_id, status, end_time, stage, deleted, name)
