"""Whether this environment has the private names of mlflow, requests and urllib3 that a store uses.

Private names may change with any release. If one is missing, MLflow's own store is used, with one warning.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from typing import Any, Final

log = logging.getLogger(__name__)
# The parameters of `request_utils._get_request_session` under the releases whose rules for retries the store
# imitates. From 3.18 on, MLflow repeats requests that are not idempotent less often, and has more of them.
_SESSION: Final = "max_retries backoff_factor backoff_jitter retry_codes raise_on_status respect_retry_after_header"
# By store: `module:name`, where the name may have parts.
NAMES: Final = {
    "server": (
        "mlflow.protos.service_pb2:CreateRun.Response",
        "mlflow.store.tracking.rest_store:RestStore._search_runs",
        "mlflow.tracking.request_header.databricks_request_header_provider:DatabricksRequestHeaderProvider",
        "mlflow.tracking.request_header.default_request_header_provider:DefaultRequestHeaderProvider",
        "mlflow.tracking.request_header.registry:_request_header_provider_registry",
        "mlflow.tracking.request_header.registry:resolve_request_headers",
        "mlflow.utils.credentials:get_default_host_creds",
        "mlflow.utils.proto_json_utils:parse_dict",
        "mlflow.utils.request_utils:_TRANSIENT_FAILURE_RESPONSE_CODES",
        "mlflow.utils.request_utils:_get_request_session",
        "mlflow.utils.rest_utils:_validate_backoff_factor",
        "mlflow.utils.rest_utils:_validate_max_retries",
        "mlflow.utils.rest_utils:verify_rest_response",
        "requests.adapters:HTTPAdapter.get_connection_with_tls_context",
        "requests.cookies:extract_cookies_to_jar",
        "requests.cookies:get_cookie_header",
        "requests.sessions:Session.merge_environment_settings",
        "requests.utils:check_header_validity",
        "requests.utils:default_headers",
        "requests.utils:get_encoding_from_headers",
        "requests.utils:get_netrc_auth",
        "requests.utils:select_proxy",
        "urllib3:HTTPConnectionPool._get_conn",
        "urllib3:HTTPConnectionPool._put_conn",
        "urllib3._collections:HTTPHeaderDict",
    ),
    "database": (
        "mlflow.store.entities.paged_list:PagedList",
        "mlflow.store.tracking.sqlalchemy_store:SqlAlchemyStore._search_runs",
        "mlflow.utils.uri:resolve_uri_if_local",
    ),
    "traces": (
        "mlflow.entities.span:LazySpan",
        "mlflow.store.tracking.dbmodels.models:SqlAssessments.to_mlflow_entity",
        "mlflow.store.tracking.utils.sql_trace_rollups:rollups_enabled",
        "mlflow.tracing.analysis:TraceFilterCorrelationResult",
    ),
    "registry": (
        "mlflow.store.artifact.utils.models:_parse_model_uri",
        "mlflow.store.model_registry.sqlalchemy_store:SqlAlchemyStore",
    ),
}
_warned: set[str] = set()


def are_known(store: str) -> bool:
    """Whether all names of a store exist. Logs a warning if not, once per store and process."""
    missing = [name for name in NAMES[store] if not _exists(name)]
    if store == "server" and not missing and _session_parameters() != _SESSION:
        reason = "this release of mlflow has other rules for retries"
    elif missing:
        reason = f"this environment has no {', '.join(missing)}"
    else:
        return True
    if store not in _warned:
        _warned.add(store)
        log.warning("headrace leaves the %s to MLflow's own store: %s", _WHAT[store], reason)
    return False


_WHAT: Final = {
    "server": "requests to servers",
    "database": "database",
    "traces": "traces",
    "registry": "model registry",
}


def _exists(name: str) -> bool:
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return True


def _session_parameters() -> str:
    request_utils: Any = importlib.import_module("mlflow.utils.request_utils")
    return " ".join(inspect.signature(request_utils._get_request_session).parameters)
