"""Results of a search, read page by page while a program iterates over them."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.limits import SEARCH_MAX_RESULTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from headrace.api.tracking.experiments.types import Experiment
    from headrace.api.tracking.runs.types import Run

T = TypeVar("T")
Page = tuple[list[T], str | None]
TIMES: Final = ("start_time", "end_time", "creation_time", "last_update_time")


class Search(Generic[T]):
    """The objects that a search finds, in its order.

    Iterating (`for`, `async for`) reads one page after another, so memory is bounded by the page. Objects
    that are created or change meanwhile may be missed or found twice, as with MLflow's page tokens.
    """

    def __init__(
        self,
        read: Callable[[int, str | None], Page[T]],
        record: Callable[[T], dict[str, Any]],
        page_size: int,
        limit: int | None,
    ) -> None:
        if not isinstance(page_size, int) or not 1 <= page_size <= SEARCH_MAX_RESULTS:
            raise invalid(
                f"Invalid value {page_size} for parameter 'page_size' supplied. "
                f"It must be from 1 to {SEARCH_MAX_RESULTS}"
            )
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise invalid(
                f"Invalid value {limit} for parameter 'max_results' supplied. It must be at least 1"
            )
        self._read = read
        self._record = record
        self._size = page_size if limit is None else min(page_size, limit)
        self._limit = limit

    def page(self, token: str | None = None) -> Page[T]:
        """Return the first page, or the page of a token, and the token of the next page.

        A page has at most `page_size` objects. Raises `headrace.Error`.
        """
        return self._read(self._size, token)

    def pages(self) -> Iterator[list[T]]:
        """Yield every page."""
        token, left = None, self._limit
        while True:
            found, token = self.page(token)
            if left is not None:
                found = found[:left]
                left -= len(found)
            if found:
                yield found
            if token is None or left == 0:
                return

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page

    async def __aiter__(self) -> AsyncIterator[T]:
        pages = self.pages()
        while page := await asyncio.to_thread(lambda: list(islice(pages, 1))):
            for one in page[0]:
                yield one

    def first(self) -> T | None:
        """Return the first object, or None."""
        return next(iter(self), None)

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dictionary for each object. Times are milliseconds since the epoch."""
        return [self._record(one) for one in self]

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table` with a column for each key of the records; times have the zone UTC."""
        try:
            import pyarrow
        except ImportError as error:
            raise _not_installed("pyarrow") from error
        records = self.to_records()
        names = dict.fromkeys(name for record in records for name in record)
        milliseconds = pyarrow.timestamp("ms", "UTC")
        return pyarrow.table(
            {
                name: pyarrow.array(
                    [record.get(name) for record in records],
                    milliseconds if name in TIMES else None,
                )
                for name in names
            }
        )

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a column for each key of the records; times have the zone UTC."""
        try:
            import pandas
        except ImportError as error:
            raise _not_installed("pandas") from error
        table = pandas.DataFrame.from_records(self.to_records())
        for name in TIMES:
            if name in table:
                table[name] = pandas.to_datetime(table[name], unit="ms", utc=True)
        return table


def _not_installed(package: str) -> ApiError:
    return ApiError(
        ErrorCode.NOT_IMPLEMENTED, f"The package {package} is not installed: pip install {package}"
    )


def run_record(run: Run) -> dict[str, Any]:
    """Return the columns of a run, with its data as `metrics.KEY`, `params.KEY` and `tags.KEY`."""
    info = run.info
    return {
        "run_id": info.run_id,
        "run_name": info.run_name,
        "experiment_id": info.experiment_id,
        "status": info.status,
        "user_id": info.user_id,
        "start_time": info.start_time,
        "end_time": getattr(info, "end_time", None),
        "artifact_uri": info.artifact_uri,
        "lifecycle_stage": info.lifecycle_stage,
        **{f"metrics.{metric.key}": float(metric.value) for metric in run.data.metrics},
        **{f"params.{param.key}": param.value for param in run.data.params},
        **{f"tags.{tag.key}": tag.value for tag in run.data.tags},
    }


def experiment_record(experiment: Experiment) -> dict[str, Any]:
    """Return the columns of an experiment, with its tags as `tags.KEY`."""
    return {
        "experiment_id": experiment.experiment_id,
        "name": experiment.name,
        "artifact_location": experiment.artifact_location,
        "lifecycle_stage": experiment.lifecycle_stage,
        "creation_time": experiment.creation_time,
        "last_update_time": experiment.last_update_time,
        **{f"tags.{tag.key}": tag.value for tag in experiment.tags},
    }
