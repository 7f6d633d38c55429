"""Checks of the arguments of MLflow's store methods, for headrace's transactions.

Numbers of numpy become Python's. Other arguments (None, a number as a key …) raise Unsupported, so MLflow's own
method gets them.
"""

from __future__ import annotations

import numbers
import os
from typing import TYPE_CHECKING, Any, Final, cast

from mlflow.entities import LifecycleStage

from headrace.api.nouns import Tag
from headrace.api.tracking.runs.batch import RUN_ID, Batch, from_parts
from headrace.api.tracking.runs.types import Dataset, DatasetInput
from headrace.client import values
from headrace.contract.errors import ApiError
from headrace.contract.experiment_ids import parse_id
from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.contract.scalars import INT32_MAX, INT64_MAX
from headrace.plugin.fallback import Unsupported, mlflow_exception

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.api.tracking.runs.types import MetricIn, ParamIn, TagIn

# Variables with which MLflow sends further headers, or uses a database in another way.
_OTHERWISE: Final = ("MLFLOW_ENABLE_WORKSPACES", "_MLFLOW_DATABRICKS_TRAFFIC_ID")
_NUMBERS: Final = (float, int)
MAX_PLAIN_LOCATION: Final = 256  # characters; MLflow checks longer ones


def text(value: Any) -> str:
    """Check for a str that is not empty."""
    if type(value) is not str or not value:
        raise Unsupported
    return value


def optional_text(value: Any) -> str | None:
    """Check for a str or None."""
    if value is not None and type(value) is not str:
        raise Unsupported
    return value


def int64(value: Any) -> int:
    """Check for an int that fits a 64-bit column."""
    if type(value) is not int or not -INT64_MAX <= value <= INT64_MAX:
        raise Unsupported
    return value


def experiment(value: Any) -> int:
    """Check an experiment id, a text or a number. Raises as `parse_id` does."""
    if type(value) is int:
        return parse_id(str(value))
    return parse_id(text(value))


class Point:
    """A checked metric with the attributes that `Batch.add_points` reads."""

    __slots__ = ("dataset_digest", "dataset_name", "key", "model_id", "step", "timestamp", "value")

    def __init__(self, metric: Any) -> None:
        key, value, timestamp, step = metric.key, metric.value, metric.timestamp, metric.step
        if (
            type(key) is not str
            or not key
            or type(value) not in _NUMBERS
            or type(timestamp) is not int
            or type(step) is not int
            or not -INT64_MAX <= step <= INT64_MAX
            or timestamp > INT64_MAX
        ):
            value, timestamp, step = _converted(key, value, timestamp, step)
        self.key = key
        self.value = value
        self.timestamp = timestamp
        self.step = step
        # mlflow 2 has no metrics of models.
        self.model_id = getattr(metric, "model_id", None)
        self.dataset_name = self.dataset_digest = None
        if self.model_id is not None:
            self.dataset_name = metric.dataset_name
            self.dataset_digest = metric.dataset_digest


def _converted(key: Any, value: Any, timestamp: Any, step: Any) -> tuple[float, int, int]:
    """Convert numbers of other libraries. MLflow's store of SQLite would store them as blobs.

    Raises MLflow's exception for a step that is no integer, also under releases that store it.
    """
    if type(key) is not str or not key or not _is_number(value) or not _is_number(timestamp):
        raise Unsupported
    if not 0 <= timestamp <= INT64_MAX or not isinstance(step, numbers.Number):
        raise Unsupported
    if isinstance(step, int) and not -INT64_MAX <= step <= INT64_MAX:
        raise Unsupported
    try:
        return (
            values.metric_value(key, value),
            values.timestamp(key, timestamp),
            values.step(key, step),
        )
    except ApiError as error:
        raise mlflow_exception(error) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Number) and not isinstance(value, bool)


def batch(run_id: Any, metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]) -> Batch:
    """Build from entities the batch that `batch.from_request` builds from a request."""
    if RUN_ID.fullmatch(text(run_id)) is None:
        raise Unsupported
    # The entities have the same attributes as the parts of a request.
    return from_parts(
        run_id,
        cast("Sequence[MetricIn]", [Point(metric) for metric in metrics]),
        cast("Sequence[ParamIn]", [pair(param) for param in params]),
        cast("Sequence[TagIn]", [pair(tag) for tag in tags]),
    )


def pair(entity: Any) -> Any:
    """Check that key and value of a param or tag are str."""
    if type(entity.key) is not str or not entity.key or type(entity.value) is not str:
        raise Unsupported
    return entity


def tags(found: Any) -> dict[str, str]:
    """Return tags as a dictionary."""
    merged = {tag.key: tag.value for tag in map(pair, found or ())}
    if len(merged) != len(found or ()):
        raise Unsupported
    return merged


def stages(view_type: Any) -> tuple[str, ...]:
    """Return the lifecycle stages of a view type."""
    return tuple(LifecycleStage.view_type_to_stages(view_type))


def page_size(value: Any) -> int:
    """Check the number of rows of a page against MLflow's limits."""
    if type(value) is not int or not 1 <= value <= SEARCH_MAX_RESULTS:
        raise Unsupported
    return value


def root(uri: str) -> str:
    """Check for an artifact root to which ids can be appended, and return it without a final slash."""
    if "?" in uri or "#" in uri:
        raise Unsupported
    return uri.rstrip("/") or "/"


def location(uri: Any) -> str:
    """Check for an artifact location that MLflow would store unchanged."""
    if type(uri) is not str or len(uri) > MAX_PLAIN_LOCATION:
        raise Unsupported
    return uri


def datasets(found: Any) -> list[DatasetInput]:
    """Convert dataset inputs to those of a request."""
    if found is not None and type(found) is not list:
        raise Unsupported
    return [
        DatasetInput(
            tags=[Tag(key=tag.key, value=tag.value) for tag in map(pair, one.tags or ())],
            dataset=Dataset(
                name=text(one.dataset.name),
                digest=text(one.dataset.digest),
                source_type=text(one.dataset.source_type),
                source=text(one.dataset.source),
                schema=optional_text(one.dataset.schema),
                profile=optional_text(one.dataset.profile),
            ),
        )
        for one in found or ()
    ]


def version(value: Any) -> str:
    """Convert the number of a model version to the text of a request."""
    if type(value) is not int and (type(value) is not str or not value.isdecimal()):
        raise Unsupported
    if int(value) > INT32_MAX:  # MLflow's method reports the error of the database
        raise Unsupported
    return str(value)


def _workspace_function() -> Callable[[], str | None]:
    try:
        from mlflow.utils.workspace_context import get_request_workspace
    except ImportError:  # before mlflow 3.10
        return lambda: None
    return get_request_workspace


_chosen: Final = _workspace_function()


def workspace() -> str | None:
    """Return the workspace that the program has chosen (`mlflow.set_workspace`), or None."""
    if any(os.environ.get(name, "").lower() not in ("", "false", "0") for name in _OTHERWISE):
        raise Unsupported
    return _chosen()


def token(value: Any) -> str | None:
    """Check a page token. MLflow's stores of databases return them as bytes."""
    if type(value) is bytes:
        return value.decode("ascii", "replace")
    return optional_text(value)


def stock_token(token: str | None) -> bytes | None:
    """Convert a page token to bytes, as MLflow's stores of databases return it."""
    return None if token is None else token.encode()
