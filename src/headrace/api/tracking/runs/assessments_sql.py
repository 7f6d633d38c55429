"""SQL for assessments created by runs: they are deleted with their run or its experiment.

The text of an assessment's metadata names its run. No index supports this search, and a cast to
JSON fails at the first text that is not JSON. Therefore the whole table is searched, once for all
runs of an experiment, outside the transaction that writes. Stock searches it inside the
transaction, once for each run.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from headrace.db.base import Tx
from headrace.db.sql import Sql

# Maximum number of ids found before the transaction that deletes them; the transaction finds any
# further ones.
MOST_IDS: Final = 10_000
_KEY: Final = '"mlflow.assessment.sourceRunId": "'  # as MLflow writes JSON


class Search(NamedTuple):
    """Statements for the assessments of a run ($1: its `source_run`) or experiment ($1: its id)."""

    ids: Sql
    delete: Sql


def _search(postgres: str, sqlite: str) -> Search:
    select = "SELECT assessment_id FROM assessments WHERE "
    delete = "DELETE FROM assessments WHERE "
    limit = " LIMIT $2"
    return Search(
        Sql(postgres=select + postgres + limit, sqlite=select + sqlite + limit),
        Sql(postgres=delete + postgres, sqlite=delete + sqlite),
    )


_RUNS: Final = "(SELECT run_uuid FROM runs WHERE experiment_id = $1)"
OF_RUN: Final = _search(*("{contains assessment_metadata $1}",) * 2)
OF_EXPERIMENT: Final = _search(
    f"strpos(assessment_metadata, '{_KEY}') > 0"
    f" AND split_part(split_part(assessment_metadata, '{_KEY}', 2), '\"', 1) IN {_RUNS}",
    f"instr(assessment_metadata, '{_KEY}') > 0 AND substr(assessment_metadata,"
    f" instr(assessment_metadata, '{_KEY}') + {len(_KEY)}, 32) IN {_RUNS}",
)
DELETE: Final = Sql("DELETE FROM assessments WHERE assessment_id {in $1 text}")


def source_run(run_id: str) -> str:
    """Return the part of an assessment's metadata that names the run."""
    return f'{_KEY}{run_id}"'


async def find(tx: Tx, search: Search, key: object) -> list[str]:
    """Return the ids of at most MOST_IDS assessments. Reads the whole table."""
    if not tx.schema.has("assessments", "assessment_metadata"):
        return []
    return [found for (found,) in await tx.fetch(search.ids, key, MOST_IDS)]


async def delete(tx: Tx, search: Search, key: object, found: list[str]) -> None:
    """Delete the assessments that `find` found, and any beyond MOST_IDS."""
    if found:
        await tx.execute(DELETE, tx.array(found))
    if len(found) == MOST_IDS:
        await tx.execute(search.delete, key)
