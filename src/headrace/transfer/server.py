"""A tracking server with MLflow's REST API: MLflow itself, headrace, FastTrackML, or another.

Needs no mlflow. The credentials are those of MLflow's clients.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

from headrace.client.credentials import authorization_of
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.transfer.records import (
    Broken,
    CutOff,
    Experiment,
    File,
    Left,
    Point,
    Run,
    Source,
    unreadable,
)
from headrace.transfer.server_types import Page, converted, experiment, named, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
API: Final = "/api/2.0/mlflow/"
ARTIFACTS: Final = "/get-artifact"
ARTIFACTS_OF_FASTTRACKML: Final = API + "artifacts/get"
TIMEOUT_S: Final = 120.0
ATTEMPTS: Final = 6
LONGEST_WAIT_S: Final = 30.0
DEPTH: Final = 100  # of directories of artifacts
RETRIED: Final = (429, 500, 502, 503, 504)
EXPERIMENTS: Final = 1000  # per page
RUNS: Final = 50  # per page
MODELS: Final = 1000  # per page
LOGGED_MODELS: Final = 50  # per page
TRACES: Final = 500  # per page
POINTS: Final = 25_000  # per page; MLflow's maximum
CHUNK_BYTES: Final = 1 << 20
MAX_ANSWER_BYTES: Final = 256 << 20  # of JSON, which is held in memory


class Api:
    """Requests over one connection. An overloaded or absent server is asked again."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._host = (parts.hostname or "").encode("idna").decode()
            self._port = parts.port
        except ValueError as error:
            raise invalid(f"{url} is not the address of a server: {error}.") from error
        if not self._host:
            raise invalid(f"{url} is not the address of a server: it names no host.")
        self._path = parts.path.rstrip("/")
        self._secure = parts.scheme == "https"
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "headrace"}
        authorization = authorization_of(os.environ)
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._artifacts = ARTIFACTS
        self._connection: http.client.HTTPConnection | None = None

    def _connect(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        context = ssl.create_default_context(
            cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
        )
        if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("1", "true"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=TIMEOUT_S, context=context
        )

    def get(self, path: str, /, **fields: str | int) -> Page:
        """Return the JSON object of an answer. Raises `ApiError`."""
        return self._page("GET", f"{API}{path}?{urlencode(fields)}", None)

    def post(self, path: str, /, **fields: Any) -> Page:
        """As `get`, with the fields in the body. A path that begins with a slash is complete."""
        target = path if path.startswith("/") else API + path
        return self._page("POST", target, json.dumps(fields).encode())

    def pages(self, ask: Callable[[str], Page]) -> Iterator[Page]:
        """Yield the pages that `ask` returns for their tokens; the token of the first is ""."""
        token = ""
        while True:
            page = ask(token)
            yield page
            if not page.next_page_token:
                return
            if page.next_page_token == token:
                raise unreadable(self._host, "the server's next page is the same page again")
            token = page.next_page_token

    def _page(self, method: str, target: str, body: bytes | None) -> Page:
        return self._retried(target, lambda: self._decoded(method, target, body))

    def _decoded(self, method: str, target: str, body: bytes | None) -> Page:
        answer = self._ask(method, target, body)
        text = self._content(answer, target)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            if not _has_length(answer):  # its end is the end of the connection: it can be cut off
                raise http.client.IncompleteRead(text) from error
            raise unreadable(_shown(target), "the server's answer is not JSON") from error
        return converted(_shown(target), found, Page)

    def artifact(self, run_id: str, path: str, size: int | None) -> Iterator[bytes]:
        """Yield the contents of an artifact. Raises `CutOff` if they are not complete.

        `size`: the bytes that the listing names, if it does.
        """
        fields = urlencode({"path": path, "run_id": run_id, "run_uuid": run_id})
        try:
            answer = self._open(fields)
        except ApiError as error:
            if error.code is not ErrorCode.ENDPOINT_NOT_FOUND or self._artifacts != ARTIFACTS:
                raise
            self._artifacts = ARTIFACTS_OF_FASTTRACKML
            answer = self._open(fields)
        expected, received = answer.length if answer.length is not None else size, 0
        try:
            while chunk := answer.read(CHUNK_BYTES):
                received += len(chunk)
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise CutOff(path, f"the answer broke off after {received:,} bytes: {error}") from error
        for bytes_ in (expected, size):
            if bytes_ is not None and received != bytes_:
                self.close()
                raise CutOff(path, f"the server sent {received:,} of {bytes_:,} bytes")

    def _open(self, fields: str) -> http.client.HTTPResponse:
        target = f"{self._artifacts}?{fields}"
        return self._retried(target, lambda: self._ask("GET", target, None))

    def _retried(self, target: str, ask: Callable[[], T]) -> T:
        """Call `ask` until the server answers; at most `ATTEMPTS` times."""
        for attempt in range(1, ATTEMPTS + 1):
            wait_s = min(LONGEST_WAIT_S, 2.0**attempt / 4)
            try:
                return ask()
            except _Overloaded as error:
                if attempt == ATTEMPTS:
                    raise error.refusal from None
                wait_s = _wait_s(error.retry_after, wait_s)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if attempt == ATTEMPTS:
                    port = self._port or (443 if self._secure else 80)
                    raise ApiError(
                        ErrorCode.TEMPORARILY_UNAVAILABLE,
                        f"The server {self._host}:{port} does not answer: {error}",
                    ) from error
            time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _ask(self, method: str, target: str, body: bytes | None) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        headers = self._headers if body is None else {**self._headers, **JSON}
        self._connection.request(method, self._path + target, body, headers)
        answer = self._connection.getresponse()
        if answer.status == 200:
            return answer
        refusal = _refusal(target, answer.status, self._content(answer, target))
        if answer.status in RETRIED:
            raise _Overloaded(refusal, answer.getheader("Retry-After"))
        raise refusal

    def _content(self, answer: http.client.HTTPResponse, target: str) -> bytes:
        """Read an answer. Raises `IncompleteRead` if it is cut off, ApiError if it is too large."""
        found = bytearray()
        while piece := answer.read(CHUNK_BYTES):
            found += piece
            if len(found) > MAX_ANSWER_BYTES:
                self.close()  # with the rest of the answer
                reason = f"the server's answer has more than {MAX_ANSWER_BYTES:,} bytes"
                raise unreadable(_shown(target), reason)
        if answer.length:
            raise http.client.IncompleteRead(bytes(found), answer.length)
        return bytes(found)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


JSON: Final = {"Content-Type": "application/json"}


class _Overloaded(Exception):
    """An answer with a status in `RETRIED`."""

    def __init__(self, refusal: ApiError, retry_after: str | None) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.retry_after = retry_after


def _wait_s(retry_after: str | None, otherwise: float) -> float:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3): a number or a date."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return min(LONGEST_WAIT_S, float(text))
    try:
        left_s = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):  # no date either: the header says nothing
        return otherwise
    return min(LONGEST_WAIT_S, max(0.0, left_s))


def _has_length(answer: http.client.HTTPResponse) -> bool:
    return answer.chunked or answer.getheader("Content-Length") is not None


def _shown(target: str) -> str:
    return target.partition("?")[0]


def _refusal(target: str, status: int, text: bytes) -> ApiError:
    try:
        found = json.loads(text)
        code, message = ErrorCode(found["error_code"]), str(found["message"])
    except (ValueError, KeyError, TypeError):
        code = ErrorCode.ENDPOINT_NOT_FOUND if status == 404 else ErrorCode.BAD_REQUEST
        message = f"the answer has the status {status}"
    return ApiError(code, f"{_shown(target)}: {message}")


class ServerFile(File):
    """An artifact that the server sends."""

    def __init__(self, api: Api, run_id: str, path: str, size: int | None) -> None:
        self.path = path
        self.size = size
        self._api = api
        self._run_id = run_id

    def chunks(self) -> Iterator[bytes]:
        """See File."""
        return self._api.artifact(self._run_id, self.path, self.size)


class Server(Source):
    """The experiments of a server."""

    def __init__(self, url: str) -> None:
        self._api = Api(url)
        self._downloads = Api(url)
        self._keys: dict[str, list[str]] = {}  # of the metrics of the runs of a page

    def experiments(self) -> Iterator[Experiment | Broken]:
        """See Source."""
        for page in self._api.pages(
            lambda token: self._api.post(
                "experiments/search", view_type="ALL", max_results=EXPERIMENTS, page_token=token,
                order_by=["creation_time ASC"],
            )
        ):  # fmt: skip
            for one in page.experiments or ():
                try:
                    yield experiment(one)
                except ApiError as error:
                    yield Broken(f"experiment '{named(one, 'name')}'", error)

    def count(self, experiment: Experiment) -> int | None:
        """See Source. MLflow's API does not count runs."""
        return None

    def runs(self, experiment: Experiment) -> Iterator[Run | Broken]:
        """See Source."""
        for page in self._api.pages(
            lambda token: self._api.post(
                "runs/search",
                experiment_ids=[experiment.experiment_id],
                run_view_type="ALL",
                max_results=RUNS,
                order_by=["attributes.start_time ASC"],  # new runs come last
                page_token=token,
            )
        ):
            self._keys = {}
            for one in page.runs or ():
                try:
                    found, keys = run(one)
                except ApiError as error:
                    yield Broken(f"run {named(one, 'info', 'run_id')}", error)
                    continue
                self._keys[found.run_id] = keys
                yield found

    def points(self, experiment: Experiment, run: Run) -> Iterator[Point]:
        """See Source."""
        for key in self._keys.get(run.run_id, ()):
            for page in self._api.pages(partial(self._history, run.run_id, key)):
                for one in page.metrics or ():
                    yield Point(key, one.step, one.timestamp, one.value)

    def _history(self, run_id: str, key: str, token: str) -> Page:
        asked: dict[str, str | int] = {"run_id": run_id, "metric_key": key, "run_uuid": run_id}
        if token:
            asked["page_token"] = token
        return self._api.get("metrics/get-history", **asked, max_results=POINTS)

    def files(self, experiment: Experiment, run: Run) -> Iterator[File]:
        """See Source."""
        return self._files(run.run_id, "")

    def _files(self, run_id: str, directory: str) -> Iterator[File]:
        if directory.count("/") >= DEPTH:
            raise unreadable(f"The directory {directory}", f"it is deeper than {DEPTH} directories")
        for page in self._api.pages(partial(self._listing, run_id, directory)):
            for one in page.files or ():
                # An entry outside of its directory would be listed again and again.
                if not one.path or (directory and not one.path.startswith(f"{directory}/")):
                    raise unreadable(
                        f"The entry '{one.path}'", f"the listing of '{directory}' contains it"
                    )
                if one.is_dir:
                    yield from self._files(run_id, one.path)
                else:
                    yield ServerFile(self._downloads, run_id, one.path, one.file_size)

    def _listing(self, run_id: str, directory: str, token: str) -> Page:
        asked = {"run_id": run_id, "run_uuid": run_id}
        if directory:
            asked["path"] = directory
        if token:
            asked["page_token"] = token
        return self._api.get("artifacts/list", **asked)

    def left_out(self, experiment_ids: Sequence[str]) -> list[Left]:
        """See Source. One page of each kind is asked for; a server without a kind has none."""
        locations = [
            {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id_}}
            for id_ in experiment_ids
        ]
        api = self._api
        asked: list[tuple[str, str, Callable[[], Page]]] = [
            ("registered model", "registered_models", lambda: api.get(
                "registered-models/search", max_results=MODELS
            )),
        ]  # fmt: skip
        if experiment_ids:
            asked += [
                ("logged model", "models", lambda: api.post(
                    "logged-models/search", experiment_ids=experiment_ids, max_results=LOGGED_MODELS
                )),
                ("trace", "traces", lambda: api.post(
                    "/api/3.0/mlflow/traces/search", locations=locations, max_results=TRACES
                )),
            ]  # fmt: skip
        found = []
        for noun, field, ask in asked:
            try:
                page = ask()
            except ApiError as error:
                # Reported and not raised: everything that can be imported has been.
                if error.code is not ErrorCode.ENDPOINT_NOT_FOUND:
                    found.append(Left(noun, None))
                continue
            count = len(getattr(page, field) or ())
            found.append(Left(noun, count, is_all=not page.next_page_token))
        return found

    def close(self) -> None:
        """See Source."""
        self._api.close()
        self._downloads.close()
