"""What mlflow 3 has and mlflow 2 has not."""

from __future__ import annotations

import inspect
from typing import Any, Final

from mlflow import entities
from mlflow.utils import request_utils, rest_utils
from mlflow.version import VERSION
from urllib3 import HTTPConnectionPool

IS_3: Final = int(VERSION.split(".")[0]) >= 3
HAS_OUR_RULES: Final = VERSION.startswith(
    "3.17."
)  # what is refused and in which words, as headrace does
LoggedModelInput: Any = getattr(entities, "LoggedModelInput", None)
LoggedModelOutput: Any = getattr(entities, "LoggedModelOutput", None)
RunOutputs: Any = getattr(entities, "RunOutputs", None)
# What the store of a server uses of MLflow and urllib3 although they do not promise it.
_SESSION: Final = "max_retries backoff_factor backoff_jitter retry_codes raise_on_status respect_retry_after_header"
_PRIVATE: Final = (
    (request_utils, "_TRANSIENT_FAILURE_RESPONSE_CODES"),
    (rest_utils, "_validate_max_retries"),
    (rest_utils, "_validate_backoff_factor"),
    (HTTPConnectionPool, "_get_conn"),
    (HTTPConnectionPool, "_put_conn"),
)
_TWO_NAMES: Final = "run_uuid" in inspect.signature(entities.RunInfo).parameters


def id_of_run(run_id: str) -> dict[str, str]:
    """The argument of RunInfo for the run's id, which mlflow 2 wants by two names."""
    return {"run_id": run_id, "run_uuid": run_id} if _TWO_NAMES else {"run_id": run_id}


def has_known_client() -> bool:
    """Whether MLflow sends requests to a server as headrace knows it.

    Another release may repeat them by other rules. From 3.18 on, a request that is not idempotent is repeated less
    often, and the session has arguments for it.
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
