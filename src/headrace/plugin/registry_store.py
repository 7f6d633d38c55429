"""MLflow's model registry of a database, with headrace's engine for models, versions, tags and aliases.

All other methods (webhooks) are inherited and use the same database. Signatures are MLflow's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelAlias,
    RegisteredModelTag,
)
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry import (
    SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
    SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
)
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking.client import MlflowClient

from headrace import search
from headrace.api.registry.models import handlers as models
from headrace.api.registry.models import sql, transactions
from headrace.api.registry.models import types as model_types
from headrace.api.registry.models.lookup import check_alias
from headrace.api.registry.versions import handlers as versions
from headrace.api.registry.versions import lookup
from headrace.api.registry.versions import sql as versions_sql
from headrace.api.registry.versions import types as version_types
from headrace.api.registry.versions.create import NewVersion
from headrace.client import engine
from headrace.contract.names import check_model_name
from headrace.plugin import arguments, new_database
from headrace.plugin.fallback import Unsupported, with_fallback
from headrace.plugin.fork_safety import reset_after_fork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.api.registry.models.transactions import Belongings
    from headrace.api.registry.versions.sql import Whole
    from headrace.db.base import Row


def model_version(found: Whole) -> ModelVersion:
    """Convert a version with its tags and aliases to MLflow's entity."""
    row: Any = found.row  # the entity takes more than its annotations allow
    (
        name, version, created, updated, user, stage, description, source, run_id, status, message, link,
    ) = row[:12]  # fmt: skip
    return ModelVersion(
        name=name,
        version=version,
        creation_timestamp=created,
        last_updated_timestamp=updated,
        description=description,
        user_id=user,
        current_stage=stage,
        source=source,
        run_id=run_id,
        status=status,
        status_message=message,
        tags=[ModelVersionTag(tag[2], tag[3]) for tag in found.tags],
        run_link=link,
        aliases=list(found.aliases),
    )


def registered_models(rows: Sequence[Row], belongings: Belongings) -> list[RegisteredModel]:
    """Convert models to MLflow's entities, in the order of `rows`."""
    tags: dict[str, list[Any]] = {row[0]: [] for row in rows}
    aliases: dict[str, list[Any]] = {row[0]: [] for row in rows}
    newest: dict[str, list[Any]] = {row[0]: [] for row in rows}
    for name, key, value in belongings.tags:
        tags[name].append(RegisteredModelTag(key, value))
    for name, alias, version in belongings.aliases:
        aliases[name].append(RegisteredModelAlias(alias, version))
    for one in belongings.versions:
        newest[one.row.name].append(model_version(one))
    return [
        RegisteredModel(
            name, created, updated, description, newest[name], tags[name], aliases[name]
        )
        for name, created, updated, description in rows
    ]


def _origin(source: str, run_id: str | None, model_id: Any) -> tuple[str, str | None]:
    """Find the location of a new version's files, and the id of the run that created them.

    As in MLflow, logged models are looked up at the tracking URI of the process.
    """
    storage = source
    try:
        if urlsplit(source).scheme == "models":
            named = getattr(_parse_model_uri(source), "model_id", None)
            if named is None:  # another version, or mlflow 2, which has no logged models
                raise Unsupported
            model = MlflowClient().get_logged_model(named)
            storage = model.artifact_location
            run_id = run_id or model.source_run_id
        if not run_id and model_id:
            run_id = MlflowClient().get_logged_model(model_id).source_run_id
    except (MlflowException, ValueError) as error:
        raise Unsupported from error
    return storage, run_id


class RegistryStore(SqlAlchemyStore):
    """`SqlAlchemyStore` of the model registry that uses headrace's engine."""

    def __init__(self, db_uri: str) -> None:
        new_database.create(db_uri)
        super().__init__(db_uri)
        reset_after_fork(self)
        engine.keep(db_uri)

    @property
    def inherited(self) -> Any:
        """MLflow's own methods on this store."""
        return super()

    @property
    def _headrace(self) -> engine.Engine:
        return engine.engine_of(self.db_uri)

    # Models

    @with_fallback
    def create_registered_model(
        self, name: str, tags: Any = None, description: Any = None, deployment_job_id: Any = None
    ) -> RegisteredModel:
        new = transactions.NewModel(
            arguments.text(name), arguments.optional_text(description), arguments.tags(tags)
        )
        return registered_models(*self._headrace.handle(models.insert, new))[0]

    @with_fallback
    def update_registered_model(
        self, name: str, description: Any, deployment_job_id: Any = None
    ) -> RegisteredModel:
        check_model_name(arguments.text(name))
        text = arguments.optional_text(description)
        return registered_models(*self._headrace.write(models.describe, name, text))[0]

    @with_fallback
    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        request = model_types.RenameRegisteredModel(
            name=arguments.text(name), new_name=arguments.text(new_name)
        )
        return registered_models(*self._headrace.handle(models.renamed, request))[0]

    @with_fallback
    def delete_registered_model(self, name: str) -> None:
        request = model_types.RegisteredModelName(name=arguments.text(name))
        self._headrace.handle(models.delete, request)

    @with_fallback
    def get_registered_model(self, name: str) -> RegisteredModel:
        check_model_name(arguments.text(name))
        return registered_models(*self._headrace.read(transactions.whole, name))[0]

    @with_fallback
    def search_registered_models(
        self,
        filter_string: Any = None,
        max_results: Any = SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
        order_by: Any = None,
        page_token: Any = None,
    ) -> Any:
        page = search.registered_models_page(
            filter=arguments.optional_text(filter_string),
            order_by=[arguments.text(clause) for clause in order_by or ()],
            max_results=arguments.page_size(max_results),
            page_token=arguments.token(page_token),
            dialect=self._headrace.dialect,
            columns=sql.COLUMNS,
            has_workspaces=sql.has_workspaces(self._headrace.schema),
        )
        rows, belongings, token = self._headrace.read(transactions.search, page)
        return PagedList(registered_models(rows, belongings), arguments.stock_token(token))

    @with_fallback
    def get_latest_versions(self, name: str, stages: Any = None) -> list[ModelVersion]:
        check_model_name(arguments.text(name))
        names = [arguments.text(stage) for stage in stages or ()]
        found = self._headrace.read(lookup.latest_versions, name, names)
        return [model_version(one) for one in found]

    @with_fallback
    def set_registered_model_tag(self, name: str, tag: Any) -> None:
        pair = arguments.pair(tag)
        request = model_types.SetRegisteredModelTag(
            name=arguments.text(name), key=pair.key, value=pair.value
        )
        self._headrace.handle(models.set_tag, request)

    @with_fallback
    def delete_registered_model_tag(self, name: str, key: str) -> None:
        request = model_types.DeleteRegisteredModelTag(
            name=arguments.text(name), key=arguments.text(key)
        )
        self._headrace.handle(models.delete_tag, request)

    @with_fallback
    def set_registered_model_alias(self, name: str, alias: str, version: Any) -> None:
        request = model_types.SetAlias(
            name=arguments.text(name),
            alias=arguments.text(alias),
            version=arguments.version(version),
        )
        self._headrace.handle(models.set_alias, request)

    @with_fallback
    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        request = model_types.AliasKey(name=arguments.text(name), alias=arguments.text(alias))
        self._headrace.handle(models.delete_alias, request)

    # Versions

    @with_fallback
    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: Any = None,
        tags: Any = None,
        run_link: Any = None,
        description: Any = None,
        local_model_path: Any = None,
        model_id: Any = None,
    ) -> ModelVersion:
        new = NewVersion(
            version_types.CreateModelVersion(
                name=arguments.text(name), source=arguments.text(source)
            )
        )
        new.tags = arguments.tags(tags)
        new.run_link = arguments.optional_text(run_link)
        new.description = arguments.optional_text(description)
        new.check()
        new.storage, new.run_id = _origin(source, arguments.optional_text(run_id), model_id)
        return model_version(self._headrace.handle(versions.insert, new))

    @with_fallback
    def update_model_version(
        self, name: str, version: Any, description: Any = None
    ) -> ModelVersion:
        key = versions.key_of(arguments.text(name), arguments.version(version))
        text = arguments.optional_text(description)
        return model_version(self._headrace.write(versions.describe, *key, text))

    @with_fallback
    def transition_model_version_stage(
        self, name: str, version: Any, stage: str, archive_existing_versions: Any
    ) -> ModelVersion:
        request = version_types.TransitionStage(
            name=arguments.text(name),
            version=arguments.version(version),
            stage=arguments.text(stage),
            archive_existing_versions=bool(archive_existing_versions),
        )
        return model_version(self._headrace.handle(versions.transitioned, request))

    @with_fallback
    def delete_model_version(self, name: str, version: Any) -> None:
        request = version_types.ModelVersionKey(
            name=arguments.text(name), version=arguments.version(version)
        )
        self._headrace.handle(versions.delete, request)

    @with_fallback
    def get_model_version(self, name: str, version: Any) -> ModelVersion:
        key = versions.key_of(arguments.text(name), arguments.version(version))
        return model_version(self._headrace.read(lookup.whole_version, *key))

    @with_fallback
    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        check_model_name(arguments.text(name))
        check_alias(arguments.text(alias))
        return model_version(self._headrace.read(lookup.version_by_alias, name, alias))

    @with_fallback
    def get_model_version_download_uri(self, name: str, version: Any) -> Any:
        key = versions.key_of(arguments.text(name), arguments.version(version))
        row = self._headrace.read(lookup.existing_version, *key)
        return row.files

    @with_fallback
    def search_model_versions(
        self,
        filter_string: Any = None,
        max_results: Any = SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
        order_by: Any = None,
        page_token: Any = None,
    ) -> Any:
        page = search.model_versions_page(
            filter=arguments.optional_text(filter_string),
            order_by=[arguments.text(clause) for clause in order_by or ()],
            max_results=arguments.page_size(max_results),
            page_token=arguments.token(page_token),
            dialect=self._headrace.dialect,
            columns=versions_sql.COLUMNS,
            has_workspaces=sql.has_workspaces(self._headrace.schema),
        )
        found, token = self._headrace.read(versions_sql.search, page)
        return PagedList([model_version(one) for one in found], arguments.stock_token(token))

    @with_fallback
    def set_model_version_tag(self, name: str, version: Any, tag: Any) -> None:
        pair = arguments.pair(tag)
        request = version_types.SetModelVersionTag(
            name=arguments.text(name),
            version=arguments.version(version),
            key=pair.key,
            value=pair.value,
        )
        self._headrace.handle(versions.set_tag, request)

    @with_fallback
    def delete_model_version_tag(self, name: str, version: Any, key: str) -> None:
        request = version_types.DeleteModelVersionTag(
            name=arguments.text(name),
            version=arguments.version(version),
            key=arguments.text(key),
        )
        self._headrace.handle(versions.delete_tag, request)
