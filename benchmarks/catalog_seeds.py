"""Registered models, their versions and logged models that exist before a case is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.seeds import Dialect

START_MS: Final = 1_700_000_000_000
ROWS: Final = 1_000
LOGGED_EXPERIMENT: Final = 900_007
VERSIONS_PER_MODEL: Final = 10
READY: Final = 2  # the status of a logged model


def models(d: Dialect, count: int) -> list[str]:
    """Return the SQL for `count` registered models, and `count` versions of the first of them."""
    series, changed = d.series(count), f"{START_MS} + {d.big()}"
    model = {
        "name": "'model-' || i",
        "creation_time": str(START_MS),
        "last_updated_time": changed,
        "description": "'a model'",
    }
    version = {
        "name": f"'model-' || (i / {VERSIONS_PER_MODEL})",
        "version": f"1 + i % {VERSIONS_PER_MODEL}",
        "creation_time": changed,
        "last_updated_time": changed,
        "current_stage": "'None'",
        "source": "'runs:/' || i || '/model'",
        "run_id": d.hex_id("3a"),
        "status": "'READY'",
        "storage_location": "'runs:/' || i || '/model'",
    }
    tags = [
        {"name": model["name"], "key": "'team'", "value": "'team ' || (i % 7)"},
        {"name": version["name"], "version": version["version"], "key": "'team'", "value": "'x'"},
    ]
    return [
        d.insert("registered_models", model, series),
        d.insert("registered_model_tags", tags[0], series),
        d.insert("model_versions", version, series),
        d.insert("model_version_tags", tags[1], series),
    ]


def logged_models(d: Dialect, count: int) -> list[str]:
    """Return the SQL for `count` logged models of LOGGED_EXPERIMENT, which must exist."""
    series, key, at = d.series(count), d.hex_id("m-3b"), f"{START_MS} + {d.big()}"
    of = {"model_id": key, "experiment_id": str(LOGGED_EXPERIMENT)}
    model = of | {
        "name": "'net-' || i",
        "artifact_location": f"'mlflow-artifacts:/models/' || {key} || '/artifacts'",
        "creation_timestamp_ms": at,
        "last_updated_timestamp_ms": at,
        "status": str(READY),
        "lifecycle_stage": "'active'",
        "model_type": "'classifier'",
    }
    param = of | {"param_key": "'lr'", "param_value": "'0.' || (i % 100)"}
    tag = of | {"tag_key": "'team'", "tag_value": "'team ' || (i % 7)"}
    return [
        d.insert("logged_models", model, series),
        d.insert("logged_model_params", param, series),
        d.insert("logged_model_tags", tag, series),
    ]
