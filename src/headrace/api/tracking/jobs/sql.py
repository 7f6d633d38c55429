"""SQL for jobs. MLflow's job runners read the status of a job each second while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.results import NotNative
from headrace.api.tracking.jobs.types import JobStatus
from headrace.contract.errors import ApiError, invalid, not_found
from headrace.db.sql import Sql, statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Row, Schema, Tx

# By the number of the column `status`.
STATUSES: Final = (
    JobStatus.PENDING,
    JobStatus.RUNNING,
    JobStatus.SUCCEEDED,
    JobStatus.FAILED,
    JobStatus.TIMEOUT,
    JobStatus.CANCELED,
    JobStatus.NEEDS_RECOVERY,
)
# The names of the metrics of a run that optimizes a prompt; a scorer's name follows after a dot.
INITIAL: Final = "initial_eval_score"
FINAL: Final = "final_eval_score"
CALLS: Final = "total_metric_calls"
MOST_SCORES: Final = 10_000
MOST_KEYS: Final = 1000  # keys of jobs read at a time


class JobRow(NamedTuple):
    """A row of `jobs`: times in milliseconds, the timeout in seconds; params and details are JSON.

    `result` is JSON if the job succeeded, else a text.
    """

    id: str
    creation_time: int
    job_name: str
    params: str
    timeout: float | None
    status: int
    result: str | None
    retry_count: int
    last_update_time: int
    status_details: str | None
    creator: str | None
    status_message: str | None
    progress: str | None
    progress_updated_at: int | None


class SearchPosition(NamedTuple):
    """The job after which a search continues."""

    creation_time: int
    job_id: str


_COLUMNS: Final = ", ".join(JobRow._fields)
BY_ID = Sql(f"SELECT {_COLUMNS} FROM jobs WHERE workspace = {{workspace}} AND id = $1")
BY_IDS = Sql(f"SELECT {_COLUMNS} FROM jobs WHERE workspace = {{workspace}} AND id {{in $1 text}}")
_ENDED: Final = "(2, 3, 4, 5)"  # succeeded, failed, timed out, canceled
CANCEL = Sql(
    "UPDATE jobs SET status = 5, result = NULL, last_update_time = $2, lease_expires_at = NULL,"
    " status_message = NULL, progress = NULL, progress_updated_at = NULL, token_hash = NULL,"
    f" scoped_permissions = NULL, next_attempt_at = NULL"
    f" WHERE workspace = {{workspace}} AND id = $1 AND status NOT IN {_ENDED}"
)
DELETE_ENDED = Sql(
    f"DELETE FROM jobs WHERE workspace = {{workspace}} AND id = $1 AND status IN {_ENDED}"
)
SCORES = Sql(
    "SELECT key, value, is_nan FROM latest_metrics WHERE run_uuid = $1 AND ("
    f"key IN ('{INITIAL}', '{FINAL}', '{CALLS}') OR key LIKE '{INITIAL}.%' OR key LIKE '{FINAL}.%'"
    f") ORDER BY key LIMIT {MOST_SCORES}"
)


def check_served(schema: Schema) -> None:
    """Leave the request to stock MLflow if the database is older than MLflow 3.17."""
    if not schema.has("jobs", "next_attempt_at"):
        raise NotNative


def job_not_found(job_id: str) -> ApiError:
    """No job has this id."""
    return not_found(f"Job with ID {job_id} not found")


def status_of(row: JobRow) -> JobStatus:
    """The status of a job. Raises INVALID_PARAMETER_VALUE for a number that MLflow does not know."""
    if not 0 <= row.status < len(STATUSES):
        raise invalid(f"The value {row.status} can't be converted to JobStatus enum value.")
    return STATUSES[row.status]


async def get(tx: Tx, job_id: str) -> JobRow:
    """Return a job. Raises RESOURCE_DOES_NOT_EXIST."""
    row = await tx.fetchrow(BY_ID, job_id) if "\0" not in job_id else None
    if row is None:
        raise job_not_found(job_id)
    return JobRow(*row)


async def cancel(tx: Tx, job_id: str, now_ms: int) -> JobRow:
    """Cancel a job that has not ended, and return it.

    Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (it has ended).
    """
    if "\0" not in job_id and await tx.execute(CANCEL, job_id, now_ms):
        return await get(tx, job_id)
    status = status_of(await get(tx, job_id))
    raise invalid(
        f"The Job {job_id} is already finalized with status: {status}, it can't be updated."
    )


async def keys(
    tx: Tx, name: str | None, statuses: Sequence[JobStatus], after: SearchPosition | None
) -> list[tuple[SearchPosition, int]]:
    """Return the next keys of a search, the oldest first, each with the bytes of the job."""
    args: list[object] = []

    def add(value: object) -> str:
        args.append(value)
        return f"${len(args)}"

    where = ["workspace = {workspace}"]
    if name is not None:
        where.append(f"job_name = {add(name)}")
    if statuses:
        numbers = sorted({STATUSES.index(status) for status in statuses})
        where.append(f"status IN ({', '.join(map(str, numbers))})")
    if after is not None:
        where.append(f"(creation_time, id) > ({add(after.creation_time)}, {add(after.job_id)})")
    text = (
        "SELECT creation_time, id, {bytes params} + coalesce({bytes result}, 0) FROM jobs"
        f" WHERE {' AND '.join(where)} ORDER BY creation_time, id LIMIT {MOST_KEYS}"
    )
    rows = await tx.fetch(statement(text), *args)
    return [(SearchPosition(row[0], row[1]), int(row[2])) for row in rows]


async def read(tx: Tx, ids: Sequence[str]) -> list[JobRow]:
    """Return the jobs with these ids that exist, in this order."""
    found = {row[0]: JobRow(*row) for row in await tx.fetch(BY_IDS, tx.array(ids))}
    return [found[id_] for id_ in ids if id_ in found]


async def scores(tx: Tx, run_id: str) -> list[Row]:
    """Return (key, value, is_nan) of the metrics in which a run logs how good its prompts are."""
    return await tx.fetch(SCORES, run_id) if "\0" not in run_id else []
