"""What mlflow 3 has and mlflow 2 has not."""

from __future__ import annotations

import inspect
from typing import Any, Final

from mlflow import entities
from mlflow.version import VERSION

IS_3: Final = int(VERSION.split(".")[0]) >= 3
HAS_OUR_RULES: Final = VERSION.startswith(
    "3.17."
)  # what is refused and in which words, as headrace does
LoggedModelInput: Any = getattr(entities, "LoggedModelInput", None)
LoggedModelOutput: Any = getattr(entities, "LoggedModelOutput", None)
RunOutputs: Any = getattr(entities, "RunOutputs", None)
_TWO_NAMES: Final = "run_uuid" in inspect.signature(entities.RunInfo).parameters


def id_of_run(run_id: str) -> dict[str, str]:
    """The argument of RunInfo for the run's id, which mlflow 2 wants by two names."""
    return {"run_id": run_id, "run_uuid": run_id} if _TWO_NAMES else {"run_id": run_id}
