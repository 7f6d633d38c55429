"""Requests to a server on the kept-alive connections, and with the retries, that MLflow itself would use.

What `mlflow.utils.rest_utils.http_request` does for a plain server, without building a request anew each time.
Whatever is not plain (signatures, authentication plugins, proxies, client certificates, netrc) is `Unusual`.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import requests
from mlflow import environment_variables as variables
from mlflow.exceptions import MlflowException
from mlflow.tracking.request_header.registry import resolve_request_headers
from mlflow.utils import request_utils, rest_utils
from urllib3 import exceptions as urllib3_errors
from urllib3.util import Timeout

from headrace.plugin.failures import Unusual

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMON_HEADERS: Final = {"Accept-Encoding": "gzip, deflate", "Accept": "*/*"}
JSON_HEADERS: Final = {"Content-Type": "application/json"}
_RETRIES: Final = (
    variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    variables.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR,
    variables.MLFLOW_HTTP_REQUEST_BACKOFF_JITTER,
)
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_NO_PROXIES: Final = (None,) * (2 * len(_PROXIES))


class Transport:
    """Requests with JSON to one server. Safe to use from many threads and after a fork."""

    def __init__(self, get_host_creds: Callable[[], Any]) -> None:
        self._get_host_creds = get_host_creds
        self._key: Any = None
        self._pool: Any = None
        self._retries: Any = None

    def post(self, endpoint: str, body: bytes) -> bytes:
        """The body of a 200 answer. Raises MLflow's exceptions for any other, and `Unusual` before sending."""
        return self._ask("POST", endpoint, "", body)

    def get(self, endpoint: str, fields: Sequence[tuple[str, str | int]]) -> bytes:
        """As `post`, with the fields in the URL; those are what MLflow's messages would tell."""
        return self._ask("GET", endpoint, "?" + urlencode(fields), None)

    def _ask(self, method: str, endpoint: str, query: str, body: bytes | None) -> bytes:
        creds = self._get_host_creds()
        host = creds.host.rstrip("/")
        pool, retries = self._connections(host, creds)
        seconds = variables.MLFLOW_HTTP_REQUEST_TIMEOUT.get()
        url = host + endpoint
        try:
            answer = pool.urlopen(
                method,
                _path_of(url) + query,
                body=body,
                headers=_headers(creds) if body is None else _headers(creds) | JSON_HEADERS,
                retries=retries,
                redirect=False,
                assert_same_host=False,
                timeout=Timeout(connect=seconds, read=seconds),
            )
        except (urllib3_errors.HTTPError, OSError) as error:
            raise _failure(url, error) from error
        if answer.status == 200 and answer.data[:1] == b"{":
            return bytes(answer.data)
        if 300 <= answer.status < 400:
            raise Unusual  # requests follows it
        _refuse(answer, endpoint)
        return b"{}"

    def _connections(self, host: str, creds: Any) -> tuple[Any, Any]:
        settings = (_RETRIES[0].get(), _RETRIES[1].get(), _RETRIES[2].get())
        respected = variables.MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER.get()
        environ = os.environ
        proxies = tuple(environ.get(name) for name in _PROXIES)
        proxies += tuple(environ.get(name.upper()) for name in _PROXIES)
        key = (os.getpid(), host, creds.verify, settings, respected, proxies)
        if key != self._key:
            self._open(host, creds, settings, respected)
            self._key = key
        if creds.auth or creds.aws_sigv4 or creds.client_cert_path is not None:
            raise Unusual
        if getattr(creds, "use_databricks_sdk", False) or getattr(creds, "client_secret", None):
            raise Unusual
        if getattr(creds, "workspace_id", None) or self._pool is None:
            raise Unusual
        return self._pool, self._retries

    def _open(self, host: str, creds: Any, settings: tuple[Any, Any, Any], respected: bool) -> None:
        codes = request_utils._TRANSIENT_FAILURE_RESPONSE_CODES
        retries, factor, jitter = settings
        session = request_utils._get_request_session(
            retries, factor, jitter, codes, True, respected
        )
        self._pool = None
        if "@" in host:  # requests takes the name and the password of a URL before all others
            return
        merged = session.merge_environment_settings(host, {}, False, creds.verify, None)
        proxies = requests.utils.select_proxy(host, merged["proxies"])
        if proxies or merged["cert"] or requests.utils.get_netrc_auth(host):
            return
        adapter = session.get_adapter(host)
        prepared = requests.Request("POST", host).prepare()
        # The connections of MLflow's own session: what is warm stays warm.
        self._pool = adapter.get_connection_with_tls_context(prepared, merged["verify"])
        self._retries = adapter.max_retries


def _path_of(url: str) -> str:
    return "/" + url.split("://", 1)[1].partition("/")[2]


def _headers(creds: Any) -> dict[str, str]:
    headers = {**COMMON_HEADERS, **resolve_request_headers()}
    if creds.username and creds.password:
        pair = f"{creds.username}:{creds.password}".encode()
        headers["Authorization"] = "Basic " + base64.standard_b64encode(pair).decode()
    elif creds.token:
        headers["Authorization"] = f"Bearer {creds.token}"
    return headers


def _refuse(answer: Any, endpoint: str) -> None:
    """Raise what MLflow raises for an answer that is no JSON object, or not 200."""
    response = requests.Response()
    response.status_code = answer.status
    response._content = answer.data
    response.headers.update(answer.headers)
    response.encoding = requests.utils.get_encoding_from_headers(response.headers)
    rest_utils.verify_rest_response(response, endpoint)


def _failure(url: str, error: Exception) -> Exception:
    """MLflow's exception for a request that got no answer; the kinds of error are those of requests."""
    reason = getattr(error, "reason", None)
    if isinstance(error, urllib3_errors.ReadTimeoutError) or (
        isinstance(reason, urllib3_errors.ConnectTimeoutError | urllib3_errors.ReadTimeoutError)
        and not isinstance(reason, urllib3_errors.NewConnectionError)
    ):
        return MlflowException(
            f"API request to {url} failed with timeout exception {error}."
            " To increase the timeout, set the environment variable "
            f"{variables.MLFLOW_HTTP_REQUEST_TIMEOUT!s} to a larger value."
        )
    return MlflowException(f"API request to {url} failed with exception {error}")
