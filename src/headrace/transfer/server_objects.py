"""Logged models, traces and registered models of a tracking server.

A server that lacks a kind of object (an older MLflow, FastTrackML) has none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode

from headrace.contract.errors import ApiError, ErrorCode
from headrace.transfer import server_files
from headrace.transfer.mlruns_objects import spans_in
from headrace.transfer.records import Broken
from headrace.transfer.server_types import (
    logged_model,
    model_version,
    named,
    registered_model,
    run,
)
from headrace.transfer.trace_info import trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.transfer.records import File, LoggedModel, ModelVersion, RegisteredModel, Trace
    from headrace.transfer.server_api import Api
    from headrace.transfer.server_types import Page

T = TypeVar("T")
LOGGED_MODELS: Final = 50  # per page; MLflow's maximum
TRACES: Final = 500  # per page; MLflow's maximum
MODELS: Final = 100  # per page
VERSIONS: Final = 1000  # per page
ABSENT: Final = (ErrorCode.ENDPOINT_NOT_FOUND, ErrorCode.NOT_IMPLEMENTED)
NO_SPANS: Final = (*ABSENT, ErrorCode.RESOURCE_DOES_NOT_EXIST, ErrorCode.NOT_FOUND)
SPANS: Final = "/ajax-api/2.0/mlflow/get-trace-artifact"
TRACES_OF_MLFLOW_3: Final = "/api/3.0/mlflow/traces/search"
MODEL_FILES: Final = "/ajax-api/2.0/mlflow/logged-models/{}/artifacts/files"
# A search without such a filter leaves prompts out.
PROMPTS: Final = "tags.`mlflow.prompt.is_prompt` = 'true'"


class Objects:
    """The objects that are no runs."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def _each(
        self,
        ask: Callable[[str], Page],
        field: str,
        read: Callable[[Any], T],
        noun: str,
        *path: str,
    ) -> Iterator[T | Broken]:
        """Yield what `read` makes of the items in a field of the pages. `path`: to the name of an item."""
        pages = self._api.pages(ask)
        try:
            page = next(pages, None)
        except ApiError as error:
            if error.code in ABSENT:
                return
            raise
        while page is not None:
            for one in getattr(page, field) or ():
                try:
                    found = read(one)
                except ApiError as error:
                    yield Broken(f"{noun} {named(one, *path)}", error)
                    continue
                yield found
            page = next(pages, None)

    def has_logged_models(self, experiment_id: str) -> bool:
        """Whether the server has logged models at all (MLflow 3)."""
        try:
            self._api.post("logged-models/search", experiment_ids=[experiment_id], max_results=1)
        except ApiError as error:
            if error.code in ABSENT:
                return False
            raise
        return True

    def model_inputs(self, run_id: str) -> list[str]:
        """Return the ids of the logged models that a run read."""
        page = self._api.get("runs/get", run_id=run_id, run_uuid=run_id)
        return run(page.run)[0].model_inputs

    def logged_models(self, experiment_id: str) -> Iterator[LoggedModel | Broken]:
        """Yield the logged models of an experiment."""
        return self._each(
            lambda token: self._api.post(
                "logged-models/search",
                experiment_ids=[experiment_id],
                max_results=LOGGED_MODELS,
                **({"page_token": token} if token else {}),
            ),
            "models",
            logged_model,
            "logged model",
            "info",
            "model_id",
        )

    def traces(self, experiment_id: str) -> Iterator[Trace | Broken]:
        """Yield the traces of an experiment."""

        def ask(token: str) -> Page:
            more = {"page_token": token} if token else {}
            location = {
                "type": "MLFLOW_EXPERIMENT",
                "mlflow_experiment": {"experiment_id": experiment_id},
            }
            try:
                return self._api.post(
                    TRACES_OF_MLFLOW_3,
                    locations=[location],
                    max_results=TRACES,
                    order_by=["timestamp_ms ASC"],  # new traces come last
                    **more,
                )
            except ApiError as error:
                if error.code not in ABSENT:
                    raise
            return self._api.get("traces", experiment_ids=experiment_id, max_results=TRACES, **more)

        return self._each(
            ask, "traces", lambda one: trace_of("The trace", one), "trace", "trace_id"
        )

    def registered_models(self) -> Iterator[RegisteredModel | Broken]:
        """Yield the registered models, then the prompts."""
        for chosen in ({}, {"filter": PROMPTS}):
            yield from self._each(
                lambda token, chosen=chosen: self._api.get(  # type: ignore[misc]
                    "registered-models/search",
                    max_results=MODELS,
                    **chosen,
                    **({"page_token": token} if token else {}),
                ),
                "registered_models",
                registered_model,
                "registered model",
                "name",
            )

    def versions(self, model: RegisteredModel) -> Iterator[ModelVersion | Broken]:
        """Yield the versions of a registered model."""
        name = model.name.replace("'", "\\'")
        chosen = f"name = '{name}'"
        if "mlflow.prompt.is_prompt" in model.tags:
            chosen += f" AND {PROMPTS}"
        return self._each(
            lambda token: self._api.get(
                "model-versions/search",
                filter=chosen,
                max_results=VERSIONS,
                **({"page_token": token} if token else {}),
            ),
            "model_versions",
            model_version,
            f"registered model '{model.name}', version",
            "version",
        )

    def artifact_uri(self, run_id: str) -> str:
        """Return the artifact location of a run, "" if the server does not have the run."""
        try:
            page = self._api.get("runs/get", run_id=run_id, run_uuid=run_id)
        except ApiError as error:
            if error.code is ErrorCode.RESOURCE_DOES_NOT_EXIST:
                return ""
            raise
        return named(page.run, "info", "artifact_uri")


def model_files(api: Api, downloads: Api, model_id: str) -> Iterator[File]:
    """Yield the artifacts of a logged model."""
    id_ = quote(model_id, safe="")

    def listing(directory: str, token: str) -> Page:
        asked = {"artifact_directory_path": directory} if directory else {}
        if token:
            asked["page_token"] = token
        return api.get(f"logged-models/{id_}/artifacts/directories", **asked)

    def download(path: str, size: int | None) -> Iterator[bytes]:
        fields = urlencode({"artifact_file_path": path})
        return downloads.content(f"{MODEL_FILES.format(id_)}?{fields}", path, size)

    return server_files.below(listing, api, download)


def spans(api: Api, trace_id: str) -> list[dict[str, Any]]:
    """Return the spans of a trace; none if the server has none."""
    try:
        body = api.body(f"{SPANS}?{urlencode({'request_id': trace_id})}")
    except ApiError as error:
        if error.code in NO_SPANS:
            return []
        raise
    return spans_in(body, f"The answer with the spans of {trace_id}")
