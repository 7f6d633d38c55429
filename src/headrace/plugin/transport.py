"""Requests to a server, on MLflow's own keep-alive connections and with its retries.

Does what `mlflow.utils.rest_utils.http_request` does for a plain server, without building each request from
scratch. Signatures, authentication plugins, proxies, client certificates and netrc raise Unsupported.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec
import requests
from mlflow import environment_variables as variables
from mlflow.exceptions import MlflowException
from mlflow.tracking.request_header import registry
from mlflow.tracking.request_header.databricks_request_header_provider import (
    DatabricksRequestHeaderProvider,
)
from mlflow.tracking.request_header.default_request_header_provider import (
    DefaultRequestHeaderProvider,
)
from mlflow.utils import request_utils, rest_utils
from requests.cookies import extract_cookies_to_jar, get_cookie_header
from urllib3 import exceptions as urllib3_errors
from urllib3.util import Timeout

from headrace.plugin.fallback import Unsupported
from headrace.plugin.pooled_request import PooledRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RETRIES: Final = (
    variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    variables.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR,
    variables.MLFLOW_HTTP_REQUEST_BACKOFF_JITTER,
)
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# Variables that requests reads for each request. A change of one leads to new connections.
_REQUESTS_VARIABLES: Final = (
    *_PROXIES,
    *(name.upper() for name in _PROXIES),
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NETRC",
)
_DEFAULT_HEADERS: Final = requests.utils.default_headers()
_COMMON: Final = {
    name: _DEFAULT_HEADERS[name] for name in ("Accept-Encoding", "Accept", "Connection")
}
WORKSPACE_HEADER: Final = "X-MLFLOW-WORKSPACE"
_PLAIN_HOST: Final = re.compile(r"[\w.-]+", re.ASCII)
_PLAIN_PATH: Final = re.compile(r"[\w./~-]*", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}
_parsed: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Transport:
    """JSON requests to one server. Safe to use from many threads and after a fork."""

    def __init__(self, get_host_creds: Callable[[], Any]) -> None:
        self._get_host_creds = get_host_creds
        self._key: Any = None
        self._server: _Server | None = None

    def post(self, endpoint: str, body: bytes, workspace: str | None = None) -> bytes:
        """Return the body of a 200 answer. Raises MLflow's exceptions for any other, and Unsupported before sending."""
        return self._ask("POST", endpoint, "", body, workspace)

    def get(
        self,
        endpoint: str,
        fields: Sequence[tuple[str, str | int]],
        workspace: str | None = None,
    ) -> bytes:
        """As `post`, with the fields in the URL."""
        return self._ask("GET", endpoint, "?" + urlencode(fields), None, workspace)

    def _ask(
        self, method: str, endpoint: str, query: str, body: bytes | None, workspace: str | None
    ) -> bytes:
        creds = self._get_host_creds()
        host = creds.host.rstrip("/")
        server = self._server_of(host, creds)
        seconds = variables.MLFLOW_HTTP_REQUEST_TIMEOUT.get()
        headers = _headers(creds)
        if workspace is not None:
            headers.setdefault(WORKSPACE_HEADER, workspace)
        try:
            answer = server.ask(method, endpoint, query, body, headers, seconds)
        except (urllib3_errors.HTTPError, OSError) as error:
            raise _failure(host + endpoint, error) from error
        if isinstance(answer, bytes):
            return answer
        if 300 <= answer.status_code < 400:
            raise Unsupported  # requests follows redirects
        return bytes(rest_utils.verify_rest_response(answer, endpoint).content)

    def _server_of(self, host: str, creds: Any) -> _Server:
        retries = (_RETRIES[0].get(), _RETRIES[1].get(), _RETRIES[2].get())
        respected = variables.MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER.get()
        key = (
            os.getpid(),
            host,
            creds.verify,
            retries,
            respected,
            *map(os.environ.get, _REQUESTS_VARIABLES),
        )
        if key != self._key:
            rest_utils._validate_max_retries(retries[0])
            rest_utils._validate_backoff_factor(retries[1])
            self._server = _server(host, creds.verify, retries, respected)
            self._key = key
        if creds.auth or creds.aws_sigv4 or creds.client_cert_path is not None:
            raise Unsupported
        if getattr(creds, "use_databricks_sdk", False) or getattr(creds, "client_secret", None):
            raise Unsupported
        server = self._server
        if getattr(creds, "workspace_id", None) or server is None:
            raise Unsupported
        return server


class _Server:
    """A host and the pool of connections of MLflow's own session."""

    def __init__(self, host: str, session: requests.Session, pool: Any, retries: Any) -> None:
        self._host = host
        self._path = "/" + host.split("://", 1)[1].partition("/")[2] if host.count("/") > 2 else ""
        self._session = session
        self._pool = pool
        self._retries = retries
        # http.client encodes other names.
        self._plain = bool(_PLAIN_HOST.fullmatch(pool.host) and _PLAIN_PATH.fullmatch(self._path))
        name = pool.host if pool.port == _PORTS.get(pool.scheme) else f"{pool.host}:{pool.port}"
        self._name = f"Host: {name}\r\n"
        self._written: tuple[dict[str, str], bytes] = ({}, b"")

    def ask(
        self,
        method: str,
        endpoint: str,
        query: str,
        body: bytes | None,
        headers: dict[str, str],
        seconds: float,
    ) -> bytes | requests.Response:
        """Return the JSON object of a 200 answer, or the response of any other. Raises urllib3's errors."""
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._session.cookies:
            request = requests.Request(method, self._host + endpoint).prepare()
            headers["Cookie"] = get_cookie_header(self._session.cookies, request) or ""
        lines = self._lines(headers)
        path = self._path + endpoint + query
        retries, answer = self._retries, None
        if self._plain:
            line = f"{method} {path} HTTP/1.1\r\n".encode("ascii")
            pooled = PooledRequest(self._pool, method, path, line + lines, body, seconds)
            answer, retries = pooled.send(retries)
        if answer is None:
            answer = self._pool.urlopen(
                method,
                path,
                body=body,
                headers=headers,
                retries=retries,
                redirect=False,
                assert_same_host=False,
                timeout=Timeout(connect=seconds, read=seconds),
                preload_content=False,  # urllib3 must not repeat a request whose answer breaks off
            )
        if isinstance(answer, bytes):
            return answer if _is_object(answer) else _response(200, answer, {})
        content = answer.data
        if "Set-Cookie" in answer.headers:
            request = requests.Request(method, self._host + endpoint).prepare()
            extract_cookies_to_jar(self._session.cookies, request, answer)
        if answer.status == 200 and _is_object(content):
            return bytes(content)
        return _response(answer.status, content, answer.headers)

    def _lines(self, headers: dict[str, str]) -> bytes:
        """Encode the headers, after the checks that requests makes."""
        known, lines = self._written
        if known != headers:
            try:
                for item in headers.items():
                    requests.utils.check_header_validity(item)
            except requests.exceptions.InvalidHeader as error:
                raise Unsupported from error  # MLflow's method reports it
            text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            lines = (self._name + text).encode("latin-1")
            self._written = (dict(headers), lines)
        return lines


def _server(host: str, verify: Any, settings: Any, respected: bool) -> _Server | None:
    """Connect to a host; return None if requests would do more than send."""
    retries, factor, jitter = settings
    codes = request_utils._TRANSIENT_FAILURE_RESPONSE_CODES
    session = request_utils._get_request_session(retries, factor, jitter, codes, True, respected)
    if "@" in host:  # requests prefers the name and password of a URL to all others
        return None
    try:
        merged = session.merge_environment_settings(host, {}, False, verify, None)
        proxies = requests.utils.select_proxy(host, merged["proxies"])
        if proxies or merged["cert"] or requests.utils.get_netrc_auth(host):
            return None
        adapter: Any = session.get_adapter(host)
        prepared = requests.Request("POST", host).prepare()
        pool = adapter.get_connection_with_tls_context(prepared, merged["verify"])
    except (
        requests.RequestException,
        OSError,
    ):  # an invalid URL, or missing certificates: MLflow reports it
        return None
    return _Server(host, session, pool, adapter.max_retries)


# MLflow looks for Databricks at every request by trying to import these, which takes a millisecond.
_DATABRICKS: Final = ("dbruntime", "pyspark")
_DEFAULT_PROVIDERS: Final = [DatabricksRequestHeaderProvider, DefaultRequestHeaderProvider]


def _on_databricks() -> bool:
    """Whether MLflow's header provider might detect Databricks."""
    modules = sys.modules
    if "DATABRICKS_RUNTIME_VERSION" in os.environ or any(name in modules for name in _DATABRICKS):
        return True
    return "IPython" in modules and hasattr(modules["__main__"], "dbutils")


def _headers(creds: Any) -> dict[str, str]:
    headers = dict(_COMMON)
    providers = registry._request_header_provider_registry
    if [*map(type, providers)] == _DEFAULT_PROVIDERS and not _on_databricks():
        headers.update(DefaultRequestHeaderProvider().request_headers())
    else:
        headers.update(registry.resolve_request_headers())
    if creds.username and creds.password:
        pair = f"{creds.username}:{creds.password}".encode()
        headers["Authorization"] = "Basic " + base64.standard_b64encode(pair).decode()
    elif creds.token:
        headers["Authorization"] = f"Bearer {creds.token}"
    return headers


def _is_object(content: bytes) -> bool:
    if content == b"{}":
        return True
    try:
        _parsed(content)
    except msgspec.DecodeError:
        return False
    return True


def _response(status: int, content: bytes, headers: Any) -> requests.Response:
    """Build the response that MLflow checks."""
    response = requests.Response()
    response.status_code = status
    response._content = content
    response.headers.update(headers)
    response.encoding = requests.utils.get_encoding_from_headers(response.headers)
    return response


def _failure(url: str, error: Exception) -> Exception:
    """Build MLflow's exception for a request without an answer. The kinds of error are those of requests."""
    reason = getattr(error, "reason", None)  # only this one is a timeout in requests
    if isinstance(reason, urllib3_errors.ConnectTimeoutError) and not isinstance(
        reason, urllib3_errors.NewConnectionError
    ):
        return MlflowException(
            f"API request to {url} failed with timeout exception {error}."
            " To increase the timeout, set the environment variable "
            f"{variables.MLFLOW_HTTP_REQUEST_TIMEOUT!s} to a larger value."
        )
    return MlflowException(f"API request to {url} failed with exception {error}")
