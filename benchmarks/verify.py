"""Check with SQL, without the server, that the database contains every acknowledged row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import seeds
from benchmarks.cases import Case, Target, Writes

if TYPE_CHECKING:
    from benchmarks.databases import Databases
    from benchmarks.load import Load


def _runs_of(case: Case, setup: dict[str, Any]) -> str:
    """Return the condition on `run_uuid` that selects the runs of this measurement."""
    if case.pool_segment is not None:
        first, count = seeds.pool_segment(case.pool_segment)
        last = seeds.run_id(seeds.POOL_SET, first + count - 1)
        return f"run_uuid BETWEEN '{seeds.run_id(seeds.POOL_SET, first)}' AND '{last}'"
    ids = ", ".join(f"'{run}'" for run in setup["run_ids"])
    return f"run_uuid IN ({ids})"


def rows_before(case: Case, databases: Databases, uri: str) -> dict[str, int]:
    """Count rows by table in the case's part of the pool; empty for cases that create runs."""
    if case.writes is None or case.pool_segment is None:
        return {}
    return _count(case.writes, _runs_of(case, {}), databases, uri)


def _count(writes: Writes, runs: str, databases: Databases, uri: str) -> dict[str, int]:
    tables = [t for t in ("metrics", "params") if getattr(writes, t)]
    texts = [f"SELECT count(*) FROM {table} WHERE {runs}" for table in tables]
    found = databases.run(uri, *texts)
    return {table: int(rows[0][0]) for table, rows in zip(tables, found, strict=True)}


def missing(
    case: Case,
    load: Load,
    before: dict[str, int],
    databases: Databases,
    uri: str,
    *,
    latest: bool = True,
) -> str:
    """Describe the difference from the acknowledged rows; empty if there is none.

    If `latest` is false, latest_metrics is not checked (FastTrackML orders points by another rule).
    """
    writes = case.writes
    if writes is None or load.requests == load.failures:
        return ""
    if writes.target is Target.NEW_RUNS:
        where = f"experiment_id = {int(load.setup['experiment_id'])}"
        found = databases.run(uri, f"SELECT count(*) FROM runs WHERE {where}")
        return _compare("runs", 1, int(found[0][0][0]), load, case.users)
    runs = _runs_of(case, load.setup)
    after = _count(writes, runs, databases, uri)
    wrong = [
        _compare(table, getattr(writes, table), count - before.get(table, 0), load, case.users)
        for table, count in after.items()
    ]
    if writes.metrics and latest:
        wrong.append(_stale(runs, databases, uri))
    return "; ".join(text for text in wrong if text)


def _compare(table: str, per_request: int, stored: int, load: Load, users: int) -> str:
    """Allow for requests that failed or had no answer: they may have been stored or not."""
    least = (load.requests - load.failures) * per_request
    most = (load.requests + users) * per_request
    if least <= stored <= most:
        return ""
    return f"{table}: {stored} rows stored, {least} acknowledged"


def _stale(runs: str, databases: Databases, uri: str) -> str:
    """Check that the latest value is the last of the history by (step, timestamp, value)."""
    newest = (
        "SELECT run_uuid, step, timestamp, value, row_number() OVER (PARTITION BY run_uuid"
        " ORDER BY step DESC, timestamp DESC, value DESC) AS place"
        f" FROM metrics WHERE key = 'metric_0' AND {runs}"
    )
    text = (
        f"SELECT count(*) FROM ({newest}) m LEFT JOIN latest_metrics l"
        " ON l.run_uuid = m.run_uuid AND l.key = 'metric_0' AND l.step = m.step"
        " AND l.timestamp = m.timestamp AND l.value = m.value"
        " WHERE m.place = 1 AND l.run_uuid IS NULL"
    )
    stale = int(databases.run(uri, text)[0][0][0])
    return f"latest_metrics: {stale} runs whose metric_0 is not its newest point" if stale else ""
