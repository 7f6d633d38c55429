"""Differences between the supported releases of mlflow."""

from __future__ import annotations

import inspect
from typing import Any, Final

from mlflow import entities
from mlflow.version import VERSION

IS_3: Final = int(VERSION.split(".")[0]) >= 3
# This release rejects the same requests as headrace, with the same messages.
HAS_SAME_LIMITS: Final = VERSION.startswith("3.17.")
LoggedModelInput: Any = getattr(entities, "LoggedModelInput", None)
LoggedModelOutput: Any = getattr(entities, "LoggedModelOutput", None)
RunOutputs: Any = getattr(entities, "RunOutputs", None)
_TWO_NAMES: Final = "run_uuid" in inspect.signature(entities.RunInfo).parameters


def run_id_arguments(run_id: str) -> dict[str, str]:
    """Return the arguments of RunInfo for the run's id, which mlflow 2 takes under two names."""
    return {"run_id": run_id, "run_uuid": run_id} if _TWO_NAMES else {"run_id": run_id}
