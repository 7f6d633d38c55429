"""Creation of a model version: resolves its source and inserts it under the next number."""

from __future__ import annotations

import json
from typing import Final

from headrace.api.registry.models import sql as models_sql
from headrace.api.registry.models.lookup import (
    check_alias,
    check_tag,
    existing,
    is_prompt,
    merged,
    model_not_found,
)
from headrace.api.registry.versions import origin_sql, sql
from headrace.api.registry.versions import source as sources
from headrace.api.registry.versions.lookup import (
    existing_version,
    latest_versions,
    parse_version,
    version_by_alias,
)
from headrace.api.registry.versions.sql import Whole
from headrace.api.registry.versions.types import CreateModelVersion
from headrace.contract.errors import ApiError, ErrorCode, invalid, not_found
from headrace.contract.limits import MAX_REGISTRY_TAG_VALUE
from headrace.contract.names import check_model_name
from headrace.db.base import Tx

PROMPT_TEXT: Final = "mlflow.prompt.text"
MODEL_VERSIONS_TAG: Final = "mlflow.modelVersions"  # of a logged model: JSON list of its versions


class NewVersion:
    """A version to insert. `resolve` and `insert` may replace the request's `source` and `run_id`.

    `storage` is the location of the files if it is already known.
    """

    __slots__ = (
        "description",
        "is_prompt",
        "model_id",
        "name",
        "root",
        "run_id",
        "run_link",
        "source",
        "storage",
        "tags",
    )

    def __init__(self, req: CreateModelVersion) -> None:
        self.name = req.name
        self.source = req.source
        self.run_id: str | None = req.run_id or ""
        self.model_id = req.model_id or ""
        self.run_link: str | None = req.run_link or ""
        self.description: str | None = req.description or ""
        self.tags = merged(req.tags)
        self.is_prompt = is_prompt(self.tags)
        self.storage: str | None = None
        self.root: str | None = None  # the artifact URI of the logged model, or else of the run

    def check(self) -> None:
        """Raise unless the name and the tags are allowed."""
        check_model_name(self.name)
        for key, value in self.tags.items():
            check_version_tag(key, value)


def check_version_tag(key: str, value: str) -> None:
    """Raise unless a model version may have this tag."""
    if key == PROMPT_TEXT and len(value) > MAX_REGISTRY_TAG_VALUE:
        raise invalid(f"Prompt text exceeds max length of {MAX_REGISTRY_TAG_VALUE} characters.")
    check_tag(key, value)


async def resolve(tx: Tx, new: NewVersion, req: CreateModelVersion) -> None:
    """Fill in the run and version number of the source, and the root that must contain it."""
    if sources.split(new.source).scheme == "models":
        await _resolve_registered(tx, new, req)
    if not sources.needs_root(new.source):
        return
    if new.model_id:
        model = await origin_sql.logged_model(tx, new.model_id)
        new.root = model.artifact_location if model else None
    elif new.run_id:
        new.root = await origin_sql.run_root(tx, new.run_id)


async def _resolve_registered(tx: Tx, new: NewVersion, req: CreateModelVersion) -> None:
    """Normalize a registered model as source to `models:/<name>/<number>` and take its run."""
    if sources.split(new.source).netloc:
        raise invalid(
            f"Invalid model version source: '{new.source}'. Registered model sources must use the "
            "active model registry."
        )
    uri = sources.parse_models_uri(new.source)
    if uri.model_id is not None:
        return
    check_model_name(uri.name)
    await existing(tx, uri.name)
    if is_prompt({key: value or "" for _, key, value in await models_sql.tags(tx, [uri.name])}):
        raise invalid(
            f"Invalid model version source: '{new.source}'. Prompt versions cannot be used as "
            "model version sources."
        )
    number = await _number(tx, uri)
    run_id = (await existing_version(tx, uri.name, number)).run_id or ""
    if (req.run_id is not None and req.run_id != run_id) or req.model_id:
        raise invalid(
            f"Invalid model version source: '{new.source}'. The run_id and model_id request "
            "parameters must match the referenced model version."
        )
    new.source = f"models:/{uri.name}/{number}"
    new.run_id = run_id


async def _number(tx: Tx, uri: sources.ModelUri) -> int:
    if uri.version is not None:
        return parse_version(uri.version)
    if uri.alias is not None:
        check_alias(uri.alias)
        return (await version_by_alias(tx, uri.name, uri.alias)).row.version
    found = await latest_versions(tx, uri.name, (uri.stage,) if uri.stage else ())
    if not found:
        of_stage = f" and stage '{uri.stage}'" if uri.stage else ""
        raise ApiError(
            ErrorCode.INTERNAL_ERROR,
            f"No versions of model with name '{uri.name}'{of_stage} found",
        )
    return max(one.row.version for one in found)


async def insert(tx: Tx, new: NewVersion, now_ms: int) -> Whole:
    """Insert the version under the next number and return it with its tags.

    The model's row is updated first, so that concurrent creations of its versions wait.
    """
    storage = await _storage(tx, new) if new.storage is None else new.storage
    if not await tx.execute(models_sql.TOUCH.of(tx), new.name, now_ms):
        raise model_not_found(new.name)
    inserted = await tx.fetchrow(
        sql.INSERT.of(tx),
        new.name,
        now_ms,
        new.source,
        storage,
        new.run_id,
        new.run_link,
        new.description,
    )
    assert inserted is not None, "INSERT must return the number"
    number: int = inserted[0]
    tags = [(new.name, number, key, value) for key, value in new.tags.items()]
    if tags:
        await tx.executemany(sql.INSERT_TAG, tags)
    if new.model_id and not new.is_prompt:
        await _note_on_model(tx, new, number)
    return Whole(await existing_version(tx, new.name, number), tags)


async def _storage(tx: Tx, new: NewVersion) -> str | None:
    """Return the location of the files, and fill in the run of a logged model."""
    uri = sources.ModelUri()
    if not new.is_prompt and sources.split(new.source).scheme == "models":
        uri = sources.parse_models_uri(new.source)
    storage: str | None = new.source
    if uri.version is not None:
        row = await existing_version(tx, uri.name, parse_version(uri.version))
        storage = row.files
    model_id = uri.model_id or ("" if new.run_id else new.model_id)
    if model_id:
        model = await origin_sql.logged_model(tx, model_id)
        if model is None:
            raise _no_logged_model(new.source, model_id, is_source=uri.model_id is not None)
        new.run_id = new.run_id or model.run_id
        storage = model.artifact_location if uri.model_id is not None else storage
    return storage


def _no_logged_model(source: str, model_id: str, *, is_source: bool) -> ApiError:
    reason = f"Logged model with ID '{model_id}' not found."
    if not is_source:
        return not_found(reason)
    return ApiError(
        ErrorCode.INTERNAL_ERROR,
        f"Unable to fetch model from model URI source artifact location '{source}'.Error: {reason}",
    )


async def _note_on_model(tx: Tx, new: NewVersion, number: int) -> None:
    """Append the version to the list in a tag of the logged model."""
    experiment_id = await origin_sql.lock_logged_model(tx, new.model_id)
    if experiment_id is None:
        raise _no_logged_model(new.source, new.model_id, is_source=False)
    note = {"name": new.name, "version": number}
    row = await tx.fetchrow(
        origin_sql.CLAIM_TAG, new.model_id, experiment_id, MODEL_VERSIONS_TAG, "[]"
    )
    try:
        notes = json.loads(row[0]) if row and row[0] else []
    except ValueError:
        notes = None
    if not isinstance(notes, list):
        raise invalid(
            f"The tag '{MODEL_VERSIONS_TAG}' of logged model {new.model_id} does not hold a JSON list."
        )
    if note not in notes:
        notes.append(note)
    await tx.execute(origin_sql.SET_TAG, new.model_id, MODEL_VERSIONS_TAG, json.dumps(notes))
