"""The rows of a curve: the same tables with 1,000 to 1,000,000 rows each.

Runs have 4 metrics, 4 params and 3 tags. 1,000 of them, spread over the table, belong to an
experiment of their own, and the others to a second one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import catalog_seeds
from benchmarks.seeds import PRIME, START_MS, Needs, experiment_row

if TYPE_CHECKING:
    from benchmarks.seeds import Dialect

FEW_EXPERIMENT: Final = 900_011
ALL_EXPERIMENT: Final = 900_012
LISTED_EXPERIMENTS: Final = 2_000_000
LISTED_PREFIX: Final = "listed-"
RUN_SET: Final = "c0"
FEW: Final = 1_000


def experiment_of_all(rows: int) -> int:
    """Return the experiment with (nearly) all runs."""
    return FEW_EXPERIMENT if rows == FEW else ALL_EXPERIMENT


def runs(d: Dialect, rows: int) -> list[str]:
    """Return the SQL for the runs and both experiments."""
    spread = rows // FEW
    # i * 104729 does not fit into 32 bits.
    series = f"(SELECT {d.big()} AS i FROM {d.series(rows)}) AS m"
    key = d.hex_id(RUN_SET)
    experiment = f"CASE WHEN i % {spread} = 0 THEN {FEW_EXPERIMENT} ELSE {ALL_EXPERIMENT} END"
    run = {
        "run_uuid": key,
        "name": "'run-' || i",
        "source_type": "'UNKNOWN'",
        "source_name": "''",
        "entry_point_name": "''",
        "user_id": "'seed'",
        "status": "'FINISHED'",
        "start_time": f"{START_MS} + i",
        "source_version": "''",
        "lifecycle_stage": "'active'",
        "artifact_uri": f"'mlflow-artifacts:/x/' || {key} || '/artifacts'",
        "experiment_id": experiment,
    }
    metrics = {
        "loss": f"((i * 7919) % {PRIME}) / {PRIME}.0",
        "accuracy": f"((i * 104729) % {PRIME}) / {PRIME}.0",
        "metric_2": "i / 3.0",
        "metric_3": "i / 4.0",
    }
    params = {
        "optimizer": f"CASE WHEN (i / {spread}) % 2 = 0 THEN 'adam' ELSE 'sgd' END",
        "group": f"'g' || ((i / {spread}) % 10)",
        "param_2": "'value ' || (i % 17)",
        "param_3": "'value ' || (i % 23)",
    }
    tags = {"mlflow.runName": "'run-' || i", "mlflow.user": "'seed'", "team": "'team ' || (i % 7)"}
    made = [
        experiment_row(d, str(FEW_EXPERIMENT), "'few runs'"),
        experiment_row(d, str(ALL_EXPERIMENT), "'all runs'"),
        d.insert("runs", run, series),
    ]
    for name, value in metrics.items():
        point = {
            "run_uuid": key,
            "key": f"'{name}'",
            "value": value,
            "timestamp": f"{START_MS} + i",
            "step": "i % 100",
            "is_nan": d.false,
        }
        made.append(d.insert("latest_metrics", point, series))
    for table, pairs in (("params", params), ("tags", tags)):
        for name, value in pairs.items():
            row = {"run_uuid": key, "key": f"'{name}'", "value": value}
            made.append(d.insert(table, row, series))
    return made


def statements(d: Dialect, rows: int, offers: frozenset[Needs]) -> list[str]:
    """Return the SQL for `rows` runs, experiments and, if the server has them, models."""
    listed = f"'{LISTED_PREFIX}' || i"
    made = [*runs(d, rows), experiment_row(d, f"{LISTED_EXPERIMENTS} + i", listed, rows)]
    if Needs.REGISTRY in offers:
        made += catalog_seeds.models(d, rows)
    if Needs.MLFLOW_3 in offers:
        made.append(experiment_row(d, str(catalog_seeds.LOGGED_EXPERIMENT), "'logged models'"))
        made += catalog_seeds.logged_models(d, rows)
    return made
