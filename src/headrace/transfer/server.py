"""A tracking server with MLflow's REST API: MLflow itself, headrace, FastTrackML, or another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import ApiError
from headrace.transfer import server_files, server_objects
from headrace.transfer.records import Broken, Experiment, Point, Run, Source
from headrace.transfer.server_api import Api
from headrace.transfer.server_types import Page, experiment, named, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.transfer.records import File, LoggedModel, ModelVersion, RegisteredModel, Trace

EXPERIMENTS: Final = 1000  # per page
RUNS: Final = 50  # per page
POINTS: Final = 25_000  # per page; MLflow's maximum


class Server(Source):
    """The experiments of a server."""

    def __init__(self, url: str) -> None:
        self._api = Api(url)
        self._downloads = Api(url)
        self._objects = server_objects.Objects(self._api)
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
        has_models = self._objects.has_logged_models(experiment.experiment_id)
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
                    if has_models:  # a search answers without the models that runs read
                        found.model_inputs = self._objects.model_inputs(found.run_id)
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
        return server_files.below(
            lambda directory, token: self._listing(run.run_id, directory, token),
            self._api,
            lambda path, size: self._downloads.artifact(run.run_id, path, size),
        )

    def _listing(self, run_id: str, directory: str, token: str) -> Page:
        asked = {"run_id": run_id, "run_uuid": run_id}
        if directory:
            asked["path"] = directory
        if token:
            asked["page_token"] = token
        return self._api.get("artifacts/list", **asked)

    def logged_models(self, experiment: Experiment) -> Iterator[LoggedModel | Broken]:
        """See Source."""
        return self._objects.logged_models(experiment.experiment_id)

    def model_files(self, experiment: Experiment, model: LoggedModel) -> Iterator[File]:
        """See Source."""
        return server_objects.model_files(self._api, self._downloads, model.model_id)

    def traces(self, experiment: Experiment) -> Iterator[Trace | Broken]:
        """See Source."""
        return self._objects.traces(experiment.experiment_id)

    def spans(self, experiment: Experiment, trace: Trace) -> list[dict[str, Any]]:
        """See Source."""
        return server_objects.spans(self._downloads, trace.trace_id)

    def registered_models(self) -> Iterator[RegisteredModel | Broken]:
        """See Source."""
        return self._objects.registered_models()

    def versions(self, model: RegisteredModel) -> Iterator[ModelVersion | Broken]:
        """See Source."""
        return self._objects.versions(model)

    def artifact_uri(self, run_id: str) -> str:
        """See Source."""
        return self._objects.artifact_uri(run_id)

    def close(self) -> None:
        """See Source."""
        self._api.close()
        self._downloads.close()
