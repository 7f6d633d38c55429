"""Arguments of MLflow's store methods, checked to be what headrace's transactions take.

Anything else (a numpy scalar, None, a number as a key …) is `Unusual`: MLflow's own method decides about it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, cast

from mlflow.entities import LifecycleStage

from headrace.api.nouns import Tag
from headrace.api.tracking.experiments.ids import parse_id
from headrace.api.tracking.runs.batch import RUN_ID, Batch, from_parts
from headrace.api.tracking.runs.types import Dataset, DatasetInput
from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.contract.scalars import INT32_MAX, INT64_MAX
from headrace.plugin.failures import Unusual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.api.tracking.runs.types import MetricIn, ParamIn, TagIn

_WORKSPACES: Final = (
    "MLFLOW_ENABLE_WORKSPACES",
    "MLFLOW_WORKSPACE",
    "_MLFLOW_DATABRICKS_TRAFFIC_ID",
)
_NUMBERS: Final = (float, int)
MAX_PLAIN_LOCATION: Final = 256  # characters; MLflow has its own words about longer ones


def text(value: Any) -> str:
    """A str that is not empty."""
    if type(value) is not str or not value:
        raise Unusual
    return value


def optional_text(value: Any) -> str | None:
    """A str or None."""
    if value is not None and type(value) is not str:
        raise Unusual
    return value


def int64(value: Any) -> int:
    """A whole number that a column of 64 bits takes."""
    if type(value) is not int or not -INT64_MAX <= value <= INT64_MAX:
        raise Unusual
    return value


def experiment(value: Any) -> int:
    """An experiment id, as text or number. Raises as `parse_id` does."""
    if type(value) is int:
        return parse_id(str(value))
    return parse_id(text(value))


class Point:
    """A metric with the fields that `Batch.add_points` reads, as plain attributes."""

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
            raise Unusual
        self.key = key
        self.value = value
        self.timestamp = timestamp
        self.step = step
        # Metrics of models came with mlflow 3.
        self.model_id = getattr(metric, "model_id", None)
        self.dataset_name = self.dataset_digest = None
        if self.model_id is not None:
            self.dataset_name = metric.dataset_name
            self.dataset_digest = metric.dataset_digest


def batch(run_id: Any, metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]) -> Batch:
    """What `api.runs.batch.from_request` makes of a request, from entities."""
    if RUN_ID.match(text(run_id)) is None:
        raise Unusual
    # The entities have the attributes that the batch reads of a request's parts.
    return from_parts(
        run_id,
        cast("Sequence[MetricIn]", [Point(metric) for metric in metrics]),
        cast("Sequence[ParamIn]", [pair(param) for param in params]),
        cast("Sequence[TagIn]", [pair(tag) for tag in tags]),
    )


def pair(entity: Any) -> Any:
    """A param or tag whose key and value are str."""
    if type(entity.key) is not str or not entity.key or type(entity.value) is not str:
        raise Unusual
    return entity


def tags(found: Any) -> dict[str, str]:
    """Tags as a dictionary."""
    merged = {tag.key: tag.value for tag in map(pair, found or ())}
    if len(merged) != len(found or ()):
        raise Unusual
    return merged


def stages(view_type: Any) -> tuple[str, ...]:
    """The lifecycle stages of a view type."""
    return tuple(LifecycleStage.view_type_to_stages(view_type))


def page_size(value: Any) -> int:
    """Rows of a page, within MLflow's bounds."""
    if type(value) is not int or not 1 <= value <= SEARCH_MAX_RESULTS:
        raise Unusual
    return value


def root(uri: str) -> str:
    """An artifact root to which ids can simply be appended."""
    if "?" in uri or "#" in uri:
        raise Unusual
    return uri.rstrip("/") or "/"


def location(uri: Any) -> str:
    """An artifact location that MLflow would store as it is."""
    if type(uri) is not str or len(uri) > MAX_PLAIN_LOCATION:
        raise Unusual
    return uri


def datasets(found: Any) -> list[DatasetInput]:
    """Dataset inputs as the request has them."""
    if found is not None and type(found) is not list:
        raise Unusual
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
    """The number of a model version, as a request has it."""
    if type(value) is not int and (type(value) is not str or not value.isdecimal()):
        raise Unusual
    if int(value) > INT32_MAX:  # a database refuses it in its own words
        raise Unusual
    return str(value)


def workspaces() -> bool:
    """Whether MLflow's workspaces are on: they change every request."""
    return any(os.environ.get(name, "").lower() not in ("", "false", "0") for name in _WORKSPACES)


def token(value: Any) -> str | None:
    """A page token: MLflow's stores of databases give them out as bytes."""
    if type(value) is bytes:
        return value.decode("ascii", "replace")
    return optional_text(value)


def as_stock(token: str | None) -> bytes | None:
    """A page token as MLflow's stores of databases give it out."""
    return None if token is None else token.encode()
