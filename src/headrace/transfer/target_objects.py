"""Logged models, registered models and traces in the database that experiments are imported into.

As for runs, each write may be repeated, and the last one marks the object as complete.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from headrace.api.registry.models import sql as registered_sql
from headrace.api.registry.versions import sql as versions_sql
from headrace.api.traces.spans.log import LogSpans
from headrace.api.traces.state import FINALIZED
from headrace.api.traces.traces.start import StartTrace
from headrace.api.traces.traces.write_types import ExperimentIn, LocationIn
from headrace.api.traces.writes import KIND as TRACES
from headrace.api.tracking.logged_models import sql as logged_sql
from headrace.api.tracking.logged_models.handlers import check_name
from headrace.api.tracking.logged_models.types import STATUSES
from headrace.api.tracking.runs.batch import RUN_ID
from headrace.contract.artifact_uri import append_path
from headrace.contract.errors import invalid
from headrace.contract.names import check_length, check_model_name, invalid_value
from headrace.contract.names import check_name as check_key
from headrace.contract.scalars import INT32_MAX
from headrace.contract.texts import refuse_unstorable
from headrace.db.upkeep import transfer_models as sql
from headrace.transfer import trace_spans
from headrace.transfer.records import File, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from headrace.client.engine import Engine
    from headrace.db.base import Tx
    from headrace.transfer.records import LoggedModel, ModelVersion, RegisteredModel, Trace

_STATUSES: Final = {one.name.removeprefix("LOGGED_MODEL_"): n for n, one in enumerate(STATUSES)}
_ENDED: Final = ("READY", "UPLOAD_FAILED")
STAGES: Final = ("None", "Staging", "Production", "Archived")
MODEL_URI: Final = "models:/"
MAX_ID: Final = 36  # characters of the id of a logged model
MAX_SOURCE: Final = 500
TRACE_COST_BYTES: Final = 4096  # of the information of a trace


class ObjectTarget:
    """The part of a target for the objects that are no runs."""

    def __init__(self, engine: Engine, put: Callable[[str, File], None]) -> None:
        """`put` copies a file below an artifact URI."""
        self._engine = engine
        self._put = put

    @property
    def has_logged_models(self) -> bool:
        """Whether the database's schema has logged models (MLflow 3.0)."""
        return self._engine.schema.has("logged_models")

    @property
    def has_traces(self) -> bool:
        """Whether the database's schema has traces as of MLflow 3.17."""
        return self._engine.schema.has("trace_info", "trace_name")

    # Logged models

    @staticmethod
    def check_logged(model: LoggedModel) -> None:
        """Raise INVALID_PARAMETER_VALUE for a logged model that MLflow refuses. Writes nothing."""
        refuse_unstorable(model)
        check_name(model.name)
        if not model.model_id or not model.model_id.replace("-", "").isalnum():
            raise invalid(f"Invalid id of a logged model: '{model.model_id}'.")
        check_length("model_id", MAX_ID, model.model_id)
        if model.status not in _STATUSES:
            raise invalid(f"There is no status '{model.status}' of a logged model.")
        _check_keys(model.params)
        _check_keys(model.tags)

    def is_complete(self, model: LoggedModel) -> bool:
        """Whether the target has the whole logged model already."""
        found = self._engine.read(sql.find_logged, model.model_id)
        return (
            found is not None
            and model.status in _ENDED
            and found.status in [_STATUSES[one] for one in _ENDED]
        )

    def begin_logged(self, number: int, model: LoggedModel, location: str | None) -> str:
        """Create a logged model, if it is not there, with what was logged to it.

        Return its artifact location: `location`, or one below the location of its experiment.
        """
        self._engine.write(_write_logged, number, model, location)
        found = self._engine.read(sql.find_logged, model.model_id)
        assert found is not None, "it was written"
        if found.experiment_id != number:
            raise unreadable(
                f"The logged model {model.model_id}",
                f"the target has it in the experiment {found.experiment_id} already",
            )
        return found.artifact_location

    def finish_logged(self, model: LoggedModel) -> None:
        """Set the status of a logged model that is complete otherwise."""
        self._engine.write(
            sql.finish_logged,
            model.model_id,
            model.name,
            model.last_update_time,
            _STATUSES[model.status],
            model.status_message,
        )

    # The model registry

    @staticmethod
    def check_registered(model: RegisteredModel) -> None:
        """Raise INVALID_PARAMETER_VALUE for a registered model that MLflow refuses. Writes nothing."""
        refuse_unstorable(model)
        check_model_name(model.name)
        _check_keys(model.tags)
        for version in model.aliases.values():
            _check_number(version)

    @staticmethod
    def check_version(version: ModelVersion) -> None:
        """As `check_registered`, for a version."""
        refuse_unstorable(version)
        _check_number(version.version)
        check_length("source", MAX_SOURCE, version.source)
        if version.run_id and RUN_ID.fullmatch(version.run_id) is None:
            raise invalid(invalid_value("run_id", version.run_id))
        if version.stage not in STAGES:
            raise invalid(f"There is no stage '{version.stage}'.")
        _check_keys(version.tags)

    def register(self, model: RegisteredModel) -> bool:
        """Create a registered model, if it is not there, with its tags; return whether it is new."""
        return self._engine.write(_write_registered, model)

    def add_version(self, model: RegisteredModel, version: ModelVersion, source_uri: str) -> bool:
        """Create a version of a registered model with its tags; return whether it is new.

        `source_uri`: the artifact location of the version's run in the source; a version below it
        gets the place where the target has the run's artifacts. Raises INVALID_PARAMETER_VALUE if
        the target has another version of this number.
        """
        return self._engine.write(_write_version, model.name, version, source_uri)

    def set_aliases(self, model: RegisteredModel) -> None:
        """Set the aliases of a registered model."""
        self._engine.write(_write_aliases, model)

    # Traces

    def has_trace(self, trace: Trace) -> bool:
        """Whether the target has the whole trace already."""
        found = self._engine.read(sql.find_trace, trace.trace_id, FINALIZED)
        return found is not None and found.finalized is not None and trace.ended

    @staticmethod
    def check_trace(trace: Trace, number: int, spans: list[dict[str, Any]]) -> StartTrace:
        """Return the write of a trace. Raises INVALID_PARAMETER_VALUE for what MLflow refuses."""
        info = trace.info
        info.trace_location = LocationIn(
            type="MLFLOW_EXPERIMENT", mlflow_experiment=ExperimentIn(experiment_id=str(number))
        )
        refuse_unstorable(info)
        if trace_spans.are_rows(trace.trace_id):
            for _ in trace_spans.batches(trace.trace_id, spans):
                pass
        return StartTrace.from_request(info)

    def add_trace(self, trace: Trace, number: int, spans: list[dict[str, Any]]) -> None:
        """Write the spans of a trace, then the trace."""
        start = self.check_trace(trace, number, spans)
        if trace_spans.are_rows(trace.trace_id):
            for portion, size in trace_spans.batches(trace.trace_id, spans):
                self._submit(LogSpans(number, {trace.trace_id: portion}, None), size)
        elif spans:
            location = self._engine.read(sql.text_of, sql.LOCATION, number)
            content = json.dumps({"spans": spans}).encode()
            self._put(
                append_path(location, "traces", trace.trace_id, "artifacts"), _Content(content)
            )
        self._submit(start, TRACE_COST_BYTES)

    def _submit(self, write: Any, cost_bytes: int) -> None:
        self._engine.submit(TRACES, write, cost_bytes)


class _Content(File):
    """The file with the spans of a trace of MLflow 2."""

    def __init__(self, content: bytes) -> None:
        self.path = trace_spans.FILE
        self.size = len(content)
        self._content = content

    def chunks(self) -> Iterator[bytes]:
        yield self._content


def _check_keys(pairs: Mapping[str, str]) -> None:
    for key in pairs:
        check_key(key, "key")


def _check_number(version: int) -> None:
    if not 0 < version <= INT32_MAX:
        raise invalid(f"There is no version {version} of a registered model.")


async def _write_logged(tx: Tx, number: int, model: LoggedModel, location: str | None) -> None:
    id_ = model.model_id
    if location is None:
        root = await sql.text_of(tx, sql.LOCATION, number)
        location = append_path(root, "models", id_, "artifacts")
    await tx.execute(
        sql.INSERT_LOGGED,
        id_,
        number,
        model.name,
        location,
        model.creation_time,
        model.last_update_time,
        model.model_type or "",
        model.source_run_id or "",
    )
    if model.params:
        rows = [(id_, number, *one) for one in model.params.items()]
        await tx.executemany(sql.UPSERT_PARAMS, rows)
    if model.tags:
        rows = [(id_, number, *one) for one in model.tags.items()]
        await tx.executemany(logged_sql.UPSERT_TAG, rows)
    await sql.insert_metrics(
        tx,
        [
            (id_, one.key, one.timestamp, one.step, one.value, one.run_id, one.dataset_name, one.dataset_digest)
            for one in model.metrics
        ],
    )  # fmt: skip


async def _write_registered(tx: Tx, model: RegisteredModel) -> bool:
    times = (model.creation_time, model.last_update_time)
    is_new = await tx.execute(sql.INSERT_REGISTERED, model.name, *times, model.description)
    for key, value in model.tags.items():
        await tx.execute(registered_sql.UPSERT_TAG.of(tx), model.name, key, value)
    return bool(is_new)


async def _write_aliases(tx: Tx, model: RegisteredModel) -> None:
    for alias, version in model.aliases.items():
        found = await tx.fetchrow(versions_sql.VERSION.of(tx), model.name, version)
        if found is not None:
            await tx.execute(registered_sql.UPSERT_ALIAS.of(tx), model.name, alias, version)


async def _write_version(tx: Tx, name: str, version: ModelVersion, source_uri: str) -> bool:
    source, storage = await _places(tx, version, source_uri)
    is_new = await tx.execute(
        sql.INSERT_VERSION,
        name,
        version.version,
        version.creation_time,
        version.last_update_time,
        version.description,
        version.user_id,
        version.stage,
        source,
        version.run_id,
        version.run_link,
        version.status,
        version.status_message,
        storage,
    )
    if not is_new:
        row = await tx.fetchrow(versions_sql.VERSION.of(tx), name, version.version)
        if row is None or versions_sql.VersionRow(*row).creation_time != version.creation_time:
            raise unreadable(
                f"The version {version.version} of the registered model '{name}'",
                "the target has another version of this number",
            )
    for key, value in version.tags.items():
        await tx.execute(versions_sql.UPSERT_TAG.of(tx), name, version.version, key, value)
    return bool(is_new)


async def _places(tx: Tx, version: ModelVersion, source_uri: str) -> tuple[str, str | None]:
    """Return the source of a version and the location of its files, both in the target."""
    source = version.source
    if source.startswith(MODEL_URI):
        found = await sql.find_logged(tx, source.removeprefix(MODEL_URI))
        return source, None if found is None else found.artifact_location
    root = source_uri.rstrip("/")
    if root and version.run_id and (source == root or source.startswith(f"{root}/")):
        stored = await sql.text_of(tx, sql.RUN_URI, version.run_id)
        if stored:
            source = stored.rstrip("/") + source[len(root) :]
    return source, source
