"""A tracking server with MLflow's REST API: MLflow itself, headrace, FastTrackML, or another.

Needs no mlflow. The credentials are those of MLflow's clients.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from headrace.client.credentials import authorization_of
from headrace.contract.errors import ApiError, ErrorCode
from headrace.transfer.records import (
    Dataset,
    Experiment,
    File,
    Left,
    Point,
    Run,
    Source,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

API: Final = "/api/2.0/mlflow/"
ARTIFACTS: Final = "/get-artifact"
ARTIFACTS_OF_FASTTRACKML: Final = API + "artifacts/get"
TIMEOUT_S: Final = 120.0
ATTEMPTS: Final = 6
LONGEST_WAIT_S: Final = 30.0
RETRIED: Final = (429, 500, 502, 503, 504)
EXPERIMENTS: Final = 1000  # per page
RUNS: Final = 50  # per page
MODELS: Final = 1000  # per page
LOGGED_MODELS: Final = 50  # per page
TRACES: Final = 500  # per page
POINTS: Final = 25_000  # per page; MLflow's maximum
CHUNK_BYTES: Final = 1 << 20


class Api:
    """Requests over one connection. An overloaded or absent server is asked again."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
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

    def get(self, path: str, /, **fields: str | int) -> dict[str, Any]:
        """Return the JSON object of an answer. Raises `ApiError`."""
        return self._json("GET", f"{API}{path}?{urlencode(fields)}", None)

    def post(self, path: str, /, **fields: Any) -> dict[str, Any]:
        """As `get`, with the fields in the body. A path that begins with a slash is complete."""
        target = path if path.startswith("/") else API + path
        return self._json("POST", target, json.dumps(fields).encode())

    def _json(self, method: str, target: str, body: bytes | None) -> dict[str, Any]:
        text = self._answer(method, target, body).read()
        try:
            found = json.loads(text)
        except ValueError as error:
            raise unreadable(target, "the server's answer is not JSON") from error
        return found if isinstance(found, dict) else {}

    def artifact(self, run_id: str, path: str) -> Iterator[bytes]:
        """Yield the contents of an artifact."""
        fields = urlencode({"path": path, "run_id": run_id, "run_uuid": run_id})
        try:
            answer = self._answer("GET", f"{self._artifacts}?{fields}", None)
        except ApiError as error:
            if error.code is not ErrorCode.ENDPOINT_NOT_FOUND or self._artifacts != ARTIFACTS:
                raise
            self._artifacts = ARTIFACTS_OF_FASTTRACKML
            answer = self._answer("GET", f"{self._artifacts}?{fields}", None)
        while chunk := answer.read(CHUNK_BYTES):
            yield chunk

    def _answer(self, method: str, target: str, body: bytes | None) -> http.client.HTTPResponse:
        for attempt in range(1, ATTEMPTS + 1):
            wait_s = min(LONGEST_WAIT_S, 2.0**attempt / 4)
            try:
                answer = self._ask(method, target, body)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if attempt == ATTEMPTS:
                    raise ApiError(
                        ErrorCode.TEMPORARILY_UNAVAILABLE,
                        f"The server {self._host}:{self._port or (443 if self._secure else 80)} does not "
                        f"answer: {error}",
                    ) from error
            else:
                if answer.status == 200:
                    return answer
                wait_s = min(LONGEST_WAIT_S, float(answer.getheader("Retry-After") or wait_s))
                text = answer.read()
                if answer.status not in RETRIED or attempt == ATTEMPTS:
                    raise _refusal(target, answer.status, text)
            time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _ask(self, method: str, target: str, body: bytes | None) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        headers = self._headers if body is None else {**self._headers, **JSON}
        self._connection.request(method, self._path + target, body, headers)
        return self._connection.getresponse()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


JSON: Final = {"Content-Type": "application/json"}


def _refusal(target: str, status: int, text: bytes) -> ApiError:
    try:
        found = json.loads(text)
        code, message = ErrorCode(found["error_code"]), str(found["message"])
    except (ValueError, KeyError, TypeError):
        code = ErrorCode.ENDPOINT_NOT_FOUND if status == 404 else ErrorCode.BAD_REQUEST
        message = f"the answer has the status {status}"
    return ApiError(code, f"{target.partition('?')[0]}: {message}")


class ServerFile(File):
    """An artifact that the server sends."""

    def __init__(self, api: Api, run_id: str, path: str, size: int | None) -> None:
        self.path = path
        self.size = size
        self._api = api
        self._run_id = run_id

    def chunks(self) -> Iterator[bytes]:
        """See File."""
        return self._api.artifact(self._run_id, self.path)


class Server(Source):
    """The experiments of a server."""

    def __init__(self, url: str) -> None:
        self._api = Api(url)
        self._downloads = Api(url)
        self._keys: dict[str, list[str]] = {}  # of the metrics of the runs of a page

    def experiments(self) -> Iterator[Experiment]:
        """See Source."""
        token = ""
        while True:
            page = self._api.post(
                "experiments/search", view_type="ALL", max_results=EXPERIMENTS, page_token=token,
                order_by=["creation_time ASC"],
            )  # fmt: skip
            for one in page.get("experiments", ()):
                yield Experiment(
                    experiment_id=str(one["experiment_id"]),
                    name=one["name"],
                    artifact_location=one.get("artifact_location", ""),
                    lifecycle_stage=one.get("lifecycle_stage", "active"),
                    creation_time=_integer(one.get("creation_time")),
                    last_update_time=_integer(one.get("last_update_time")),
                    tags=_pairs(one.get("tags", ())),
                )
            token = page.get("next_page_token", "")
            if not token:
                return

    def count(self, experiment: Experiment) -> int | None:
        """See Source. MLflow's API does not count runs."""
        return None

    def runs(self, experiment: Experiment) -> Iterator[Run]:
        """See Source."""
        token = ""
        while True:
            page = self._api.post(
                "runs/search",
                experiment_ids=[experiment.experiment_id],
                run_view_type="ALL",
                max_results=RUNS,
                order_by=["attributes.start_time ASC"],  # new runs come last
                page_token=token,
            )
            found = page.get("runs", [])
            self._keys = {
                one["info"]["run_id"]: [m["key"] for m in one["data"].get("metrics", ())]
                for one in found
            }
            yield from map(_run, found)
            token = page.get("next_page_token", "")
            if not token:
                return

    def points(self, experiment: Experiment, run: Run) -> Iterator[Point]:
        """See Source."""
        for key in self._keys.get(run.run_id, ()):
            token = ""
            while True:
                asked: dict[str, str | int] = {"run_id": run.run_id, "metric_key": key}
                page = self._api.get(
                    "metrics/get-history", **asked, run_uuid=run.run_id, max_results=POINTS,
                    **({"page_token": token} if token else {}),
                )  # fmt: skip
                for one in page.get("metrics", ()):
                    yield Point(
                        key,
                        int(one.get("step", 0)),
                        int(one.get("timestamp", 0)),
                        float(one.get("value", 0.0)),
                    )
                token = page.get("next_page_token", "")
                if not token:
                    break

    def files(self, experiment: Experiment, run: Run) -> Iterator[File]:
        """See Source."""
        return self._files(run.run_id, "")

    def _files(self, run_id: str, directory: str) -> Iterator[File]:
        token = ""
        while True:
            asked = {"run_id": run_id, "run_uuid": run_id}
            if directory:
                asked["path"] = directory
            if token:
                asked["page_token"] = token
            page = self._api.get("artifacts/list", **asked)
            for one in page.get("files", ()):
                if one.get("is_dir"):
                    yield from self._files(run_id, one["path"])
                else:
                    size = _integer(one.get("file_size"))
                    yield ServerFile(self._downloads, run_id, one["path"], size)
            token = page.get("next_page_token", "")
            if not token:
                return

    def left_out(self, experiment_ids: Sequence[str]) -> list[Left]:
        """See Source. One page of each kind is asked for; a server without a kind has none."""
        locations = [
            {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id_}}
            for id_ in experiment_ids
        ]
        api = self._api
        asked: list[tuple[str, str, Callable[[], dict[str, Any]]]] = [
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
            count = len(page.get(field, ()))
            found.append(Left(noun, count, is_all=not page.get("next_page_token")))
        return found

    def close(self) -> None:
        """See Source."""
        self._api.close()
        self._downloads.close()


def _run(found: dict[str, Any]) -> Run:
    info, data = found["info"], found.get("data", {})
    tags = _pairs(data.get("tags", ()))
    return Run(
        run_id=info["run_id"],
        name=info.get("run_name") or tags.get("mlflow.runName", ""),
        user_id=info.get("user_id", ""),
        status=info.get("status", "RUNNING"),
        start_time=_integer(info.get("start_time")),
        end_time=_integer(info.get("end_time")),
        lifecycle_stage=info.get("lifecycle_stage", "active"),
        artifact_uri=info.get("artifact_uri", ""),
        params=_pairs(data.get("params", ())),
        tags=tags,
        datasets=[_dataset(one) for one in found.get("inputs", {}).get("dataset_inputs", ())],
    )


def _dataset(found: dict[str, Any]) -> Dataset:
    dataset = found["dataset"]
    return Dataset(
        name=dataset["name"],
        digest=dataset["digest"],
        source_type=dataset.get("source_type", ""),
        source=dataset.get("source", ""),
        schema=dataset.get("schema"),
        profile=dataset.get("profile"),
        tags=_pairs(found.get("tags", ())),
    )


def _pairs(found: Any) -> dict[str, str]:
    return {pair["key"]: pair.get("value", "") for pair in found}


def _integer(found: Any) -> int | None:
    return None if found is None else int(found)
