"""Differences between the supported releases of mlflow."""

from __future__ import annotations

import inspect
from typing import Any, Final

from mlflow import entities
from mlflow.utils import request_utils, rest_utils
from mlflow.version import VERSION
from urllib3 import HTTPConnectionPool

IS_3: Final = int(VERSION.split(".")[0]) >= 3
# This release rejects the same requests as headrace, with the same messages.
HAS_SAME_LIMITS: Final = VERSION.startswith("3.17.")
LoggedModelInput: Any = getattr(entities, "LoggedModelInput", None)
LoggedModelOutput: Any = getattr(entities, "LoggedModelOutput", None)
RunOutputs: Any = getattr(entities, "RunOutputs", None)
# Private names of MLflow and urllib3 that the store of a server uses.
_SESSION: Final = "max_retries backoff_factor backoff_jitter retry_codes raise_on_status respect_retry_after_header"
_PRIVATE: Final = (
    (request_utils, "_TRANSIENT_FAILURE_RESPONSE_CODES"),
    (rest_utils, "_validate_max_retries"),
    (rest_utils, "_validate_backoff_factor"),
    (HTTPConnectionPool, "_get_conn"),
    (HTTPConnectionPool, "_put_conn"),
)
_TWO_NAMES: Final = "run_uuid" in inspect.signature(entities.RunInfo).parameters


def run_id_arguments(run_id: str) -> dict[str, str]:
    """Return the arguments of RunInfo for the run's id, which mlflow 2 takes under two names."""
    return {"run_id": run_id, "run_uuid": run_id} if _TWO_NAMES else {"run_id": run_id}


def has_known_client() -> bool:
    """Whether this release has the HTTP client whose retry rules headrace imitates.

    Other releases may have other rules. From 3.18 on, MLflow repeats requests that are not
    idempotent less often, and its session has arguments for that.
    """
    try:
        from mlflow.tracking.request_header import (
            databricks_request_header_provider,  # noqa: F401
            default_request_header_provider,  # noqa: F401
            registry,
        )
    except ImportError:
        return False
    session = getattr(request_utils, "_get_request_session", None)
    return (
        session is not None
        and " ".join(inspect.signature(session).parameters) == _SESSION
        and hasattr(registry, "_request_header_provider_registry")
        and all(hasattr(owner, name) for owner, name in _PRIVATE)
    )
