"""MLflow's tracking store of a server, which sends the requests of a training without protobuf.

Works with any server that has MLflow's REST API. All other methods are inherited.
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from mlflow.entities import Run, RunStatus, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import CreateRun
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.proto_json_utils import parse_dict

from headrace.plugin import answers, arguments
from headrace.plugin.fallback import Unsupported, with_fallback
from headrace.plugin.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import Metric

API: Final = "/api/2.0/mlflow/"
_encode: Final = msgspec.json.Encoder().encode


def _number(value: float) -> float | str:
    """Convert a double to protobuf's JSON form."""
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def _metric(metric: Any) -> dict[str, Any]:
    if isinstance(metric.step, float) or isinstance(metric.timestamp, float):
        raise Unsupported  # protobuf decides
    point = arguments.Point(metric)
    found: dict[str, Any] = {
        "key": point.key,
        "value": _number(point.value),
        "timestamp": point.timestamp,
        "step": point.step,
    }
    if point.model_id is not None:
        found["model_id"] = point.model_id
    if point.dataset_name is not None:
        found["dataset_name"] = point.dataset_name
        found["dataset_digest"] = point.dataset_digest
    return found


def _pair(entity: Any) -> dict[str, str]:
    pair = arguments.pair(entity)
    return {"key": pair.key, "value": pair.value}


class ServerStore(RestStore):
    """`RestStore` that sends frequent requests directly."""

    def __init__(self, store_uri: str) -> None:
        get_host_creds = partial(get_default_host_creds, store_uri)
        super().__init__(get_host_creds)
        self._transport = Transport(get_host_creds)

    @property
    def inherited(self) -> Any:
        """MLflow's own methods on this store."""
        return super()

    def _post(self, path: str, body: dict[str, Any]) -> bytes:
        return self._transport.post(API + path, _encode(body), self._workspace())

    def _get(self, path: str, *fields: tuple[str, str | int]) -> bytes:
        return self._transport.get(API + path, fields, self._workspace())

    def _workspace(self) -> str | None:
        """Return the workspace to send. Raises MLflow's exception if the server has none."""
        workspace = arguments.workspace()
        if workspace is not None:
            self._validate_workspace_support_if_specified()  # asks the server once
        return workspace

    # Logging

    @with_fallback
    def log_metric(self, run_id: str, metric: Metric) -> None:
        arguments.text(run_id)
        body = {"run_uuid": run_id, "run_id": run_id, **_metric(metric)}
        self._post("runs/log-metric", body)

    @with_fallback
    def log_param(self, run_id: str, param: Any) -> None:
        arguments.text(run_id)
        self._post("runs/log-parameter", {"run_uuid": run_id, "run_id": run_id, **_pair(param)})

    @with_fallback
    def set_tag(self, run_id: str, tag: Any) -> None:
        arguments.text(run_id)
        self._post("runs/set-tag", {"run_uuid": run_id, "run_id": run_id, **_pair(tag)})

    @with_fallback
    def delete_tag(self, run_id: str, key: str) -> None:
        self._post(
            "runs/delete-tag", {"run_id": arguments.text(run_id), "key": arguments.text(key)}
        )

    @with_fallback
    def log_batch(
        self, run_id: str, metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]
    ) -> None:
        body = {
            "run_id": arguments.text(run_id),
            "metrics": [_metric(metric) for metric in metrics],
            "params": [_pair(param) for param in params],
            "tags": [_pair(tag) for tag in tags],
        }
        self._post("runs/log-batch", body)

    @with_fallback
    def get_metric_history(
        self, run_id: str, metric_key: str, max_results: Any = None, page_token: Any = None
    ) -> Any:
        fields: list[tuple[str, str | int]] = [
            ("run_uuid", arguments.text(run_id)),
            ("run_id", run_id),
            ("metric_key", arguments.text(metric_key)),
        ]
        if max_results is not None:
            fields.append(("max_results", arguments.page_size(max_results)))
        if page_token is not None:
            fields.append(("page_token", arguments.text(page_token)))
        return answers.history(self._get("metrics/get-history", *fields))

    # Runs

    @with_fallback
    def create_run(
        self, experiment_id: Any, user_id: Any, start_time: Any, tags: Any, run_name: Any
    ) -> Any:
        body: dict[str, Any] = {"experiment_id": str(experiment_id)}
        if user_id is not None:
            body["user_id"] = arguments.optional_text(user_id)
        if run_name is not None:
            body["run_name"] = arguments.optional_text(run_name)
        if start_time is not None:
            body["start_time"] = arguments.int64(start_time)
        if tags:
            body["tags"] = [_pair(tag) for tag in tags]
        answer = self._post("runs/create", body)
        try:
            return answers.run(answer)
        except Unsupported:
            # The run exists, so repeating the request would create a second one.
            response = CreateRun.Response()
            parse_dict(json.loads(answer.decode(errors="replace")), response)
            return Run.from_proto(response.run)

    @with_fallback
    def get_run(self, run_id: str) -> Any:
        fields = ("run_uuid", arguments.text(run_id)), ("run_id", run_id)
        return answers.run(self._get("runs/get", *fields))

    @with_fallback
    def update_run_info(self, run_id: str, run_status: Any, end_time: Any, run_name: Any) -> Any:
        body: dict[str, Any] = {"run_uuid": arguments.text(run_id), "run_id": run_id}
        if run_status is not None:
            body["status"] = RunStatus.to_string(run_status)
        if end_time is not None:
            body["end_time"] = arguments.int64(end_time)
        if run_name is not None:
            body["run_name"] = arguments.optional_text(run_name)
        return answers.run_info(self._post("runs/update", body))

    @with_fallback
    def _search_runs(
        self,
        experiment_ids: Sequence[Any],
        filter_string: Any,
        run_view_type: Any,
        max_results: Any,
        order_by: Any,
        page_token: Any,
    ) -> tuple[list[Any], str | None]:
        body: dict[str, Any] = {
            "experiment_ids": [str(number) for number in experiment_ids],
            "run_view_type": ViewType.to_string(run_view_type).upper(),
            "max_results": arguments.page_size(max_results),
        }
        if filter_string is not None:
            body["filter"] = arguments.optional_text(filter_string)
        if order_by:
            body["order_by"] = [arguments.text(clause) for clause in order_by]
        if page_token is not None:
            body["page_token"] = arguments.text(page_token)
        return answers.runs_page(self._post("runs/search", body))

    # Experiments

    @with_fallback
    def get_experiment(self, experiment_id: Any) -> Any:
        number = arguments.text(str(experiment_id))
        return answers.experiment(self._get("experiments/get", ("experiment_id", number)))

    @with_fallback
    def get_experiment_by_name(self, experiment_name: Any) -> Any:
        name = arguments.text(experiment_name)
        try:
            answer = self._get("experiments/get-by-name", ("experiment_name", name))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return answers.experiment(answer)
