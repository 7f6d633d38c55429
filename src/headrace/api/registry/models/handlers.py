"""Handlers of the registered model endpoints. Times are milliseconds since the epoch."""

from __future__ import annotations

from functools import partial

from headrace import search
from headrace.api.context import Context
from headrace.api.pieces import MOST_OF_ONE, answer_in_pieces, long_page
from headrace.api.registry.models import pieces, sql, transactions
from headrace.api.registry.models.lookup import (
    check_alias,
    check_settable,
    check_tag,
    existing,
    merged,
    model_not_found,
)
from headrace.api.registry.models.transactions import Belongings, NewModel
from headrace.api.registry.models.types import (
    AliasKey,
    CreateRegisteredModel,
    DeleteRegisteredModelTag,
    GetLatestVersions,
    RegisteredModelAnswer,
    RegisteredModelName,
    RegisteredModelPage,
    RenameRegisteredModel,
    SearchRegisteredModels,
    SetAlias,
    SetRegisteredModelTag,
    UpdateRegisteredModel,
)
from headrace.api.registry.models.view import models
from headrace.api.registry.versions.lookup import (
    existing_version,
    latest_versions,
    parse_version,
    version_by_alias,
)
from headrace.api.registry.versions.types import ModelVersionAnswer, ModelVersions
from headrace.api.registry.versions.view import model_version
from headrace.api.registry.webhooks import events
from headrace.api.results import Chunks, TooLong
from headrace.auth.redactions import hidden
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode
from headrace.contract.limits import SEARCH_REGISTERED_MODELS_DEFAULT
from headrace.contract.names import IS_PROMPT, check_model_name, check_name
from headrace.contract.scalars import Empty
from headrace.db.api_errors import sentence
from headrace.db.base import Tx
from headrace.db.errors import UniqueViolation

EMPTY = Empty()


async def create(req: CreateRegisteredModel, ctx: Context) -> RegisteredModelAnswer:
    """POST /2.0/mlflow/registered-models/create

    Errors: INVALID_PARAMETER_VALUE (name, tags), RESOURCE_ALREADY_EXISTS.
    """
    check_model_name(req.name)
    for tag in req.tags:  # every tag, also one that a later tag with the same key replaces
        check_tag(tag.key or "", tag.value or "")
    new = NewModel(req.name, req.description or "", merged(req.tags))
    (made,) = models(*await insert(new, ctx), hidden(ctx.access))
    events.model_created(ctx, req)
    return RegisteredModelAnswer(registered_model=made)


async def insert(new: NewModel, ctx: Context) -> transactions.Found:
    """Create a model. Errors: as for `create`."""
    check_model_name(new.name)
    for key, value in new.tags.items():
        check_tag(key, value)
    now = now_ms()
    try:
        await ctx.db.write(transactions.create, ctx.access, new, now)
    except UniqueViolation as error:
        if error.table != "registered_models":
            raise
        taken = await ctx.db.read(sql.tags, [new.name])
        is_prompt = any(key == IS_PROMPT for _, key, _ in taken)
        raise _name_taken(new.name, is_prompt, IS_PROMPT in new.tags) from error
    await ctx.finish(transactions.undo_create, new.name, now)
    belongings = Belongings([(new.name, *tag) for tag in new.tags.items()], (), ())
    return [(new.name, now, now, new.description)], belongings


def _name_taken(name: str, old_is_prompt: bool, new_is_prompt: bool) -> ApiError:
    old, new = (
        "Prompt" if is_prompt else "Registered Model"
        for is_prompt in (old_is_prompt, new_is_prompt)
    )
    text = f"{new} (name={name}) already exists."
    if old != new:
        text = (
            f"Tried to create a {new.lower()} with name {name!r}, but the name is already taken by "
            f"a {old.lower()}. MLflow does not allow creating a model and a prompt with the same name."
        )
    return ApiError(ErrorCode.RESOURCE_ALREADY_EXISTS, text)


async def get(req: RegisteredModelName, ctx: Context) -> RegisteredModelAnswer | Chunks:
    """GET /2.0/mlflow/registered-models/get

    Errors: RESOURCE_DOES_NOT_EXIST. Cost: five statements for any number of versions.
    """
    check_model_name(req.name)
    try:
        whole = await ctx.db.read_point(transactions.whole, req.name, MOST_OF_ONE)
    except TooLong:
        parts = pieces.parts(hidden(ctx.access), ctx.db, req.name)
        return Chunks(answer_in_pieces(b"registered_model", parts))
    (found,) = models(*whole, hidden(ctx.access))
    return RegisteredModelAnswer(registered_model=found)


async def search_models(req: SearchRegisteredModels, ctx: Context) -> RegisteredModelPage | Chunks:
    """GET /2.0/mlflow/registered-models/search

    Prompts are omitted unless the filter asks for them. Cost: five statements for a page of any
    size.
    """
    limit = SEARCH_REGISTERED_MODELS_DEFAULT if req.max_results is None else req.max_results
    page_of = partial(
        search.registered_models_page,
        filter=req.filter,
        order_by=req.order_by,
        max_results=limit,
        page_token=req.page_token,
        dialect=ctx.db.dialect,
        has_workspaces=sql.has_workspaces(ctx.db.schema),
        readable=(ctx.access.scope("registered_model"), ctx.access.scope("prompt")),
    )
    listing = pieces.listing(hidden(ctx.access))
    page = page_of(columns=sql.COLUMNS)
    try:
        rows, belongings, token = await ctx.db.read(transactions.small_page, page)
    except TooLong:
        return await long_page(ctx.db, listing, page_of(columns=("name",)))
    found = listing.show((rows, belongings))
    return RegisteredModelPage(registered_models=found, next_page_token=token)


async def get_latest_versions(req: GetLatestVersions, ctx: Context) -> ModelVersions:
    """GET and POST /2.0/mlflow/registered-models/get-latest-versions

    The newest version of each stage. Errors: INVALID_PARAMETER_VALUE (stage),
    RESOURCE_DOES_NOT_EXIST.
    """
    check_model_name(req.name)
    found = await ctx.db.read_point(latest_versions, req.name, req.stages)
    withheld = hidden(ctx.access)
    return ModelVersions(model_versions=[model_version(one, withheld) for one in found])


async def describe(tx: Tx, name: str, description: str | None) -> transactions.Found:
    """Set a model's description and return the model. Raises RESOURCE_DOES_NOT_EXIST."""
    if not await tx.execute(sql.DESCRIBE.of(tx), name, description, now_ms()):
        raise model_not_found(name)
    return await transactions.whole(tx, name)


async def update(req: UpdateRegisteredModel, ctx: Context) -> RegisteredModelAnswer:
    """PATCH /2.0/mlflow/registered-models/update

    A request without a description removes the old one. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    check_model_name(req.name)
    described = await ctx.db.write(describe, req.name, req.description or "")
    (found,) = models(*described, hidden(ctx.access))
    return RegisteredModelAnswer(registered_model=found)


async def rename(req: RenameRegisteredModel, ctx: Context) -> RegisteredModelAnswer:
    """POST /2.0/mlflow/registered-models/rename

    The model keeps its versions, tags and aliases. Errors: RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST.
    """
    (found,) = models(*await renamed(req, ctx), hidden(ctx.access))
    return RegisteredModelAnswer(registered_model=found)


async def renamed(req: RenameRegisteredModel, ctx: Context) -> transactions.Found:
    """Rename a model and return it. Errors: as for `rename`."""
    check_model_name(req.new_name, "new_name")
    check_model_name(req.name)
    await ctx.access.renaming("registered_model", req.name, req.new_name)
    try:
        found = await ctx.db.write(transactions.rename, ctx.access, req.name, req.new_name)
    except UniqueViolation as error:
        if error.table != "registered_models":
            raise
        raise ApiError(
            ErrorCode.RESOURCE_ALREADY_EXISTS,
            f"Registered Model (name={req.new_name}) already exists. Error: {sentence(error)}",
        ) from error
    await ctx.finish()
    return found


async def delete(req: RegisteredModelName, ctx: Context) -> Empty:
    """DELETE /2.0/mlflow/registered-models/delete

    Also deletes its versions, tags and aliases. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    check_model_name(req.name)
    await ctx.db.write(transactions.delete, ctx.access, req.name)
    await ctx.finish()
    return EMPTY


async def _set_tag(tx: Tx, name: str, key: str, value: str) -> None:
    await existing(tx, name)
    await tx.execute(sql.UPSERT_TAG.of(tx), name, key, value)


async def set_tag(req: SetRegisteredModelTag, ctx: Context) -> Empty:
    """POST /2.0/mlflow/registered-models/set-tag

    Errors: INVALID_PARAMETER_VALUE (key, value), RESOURCE_DOES_NOT_EXIST.
    """
    check_model_name(req.name)
    check_tag(req.key, req.value or "")
    await ctx.db.write(_set_tag, req.name, req.key, req.value or "")
    events.model_tag_set(ctx, req.name, req.key, req.value or "")
    return EMPTY


async def _delete_tag(tx: Tx, name: str, key: str) -> None:
    await existing(tx, name)
    await tx.execute(sql.DELETE_TAG.of(tx), name, key)


async def delete_tag(req: DeleteRegisteredModelTag, ctx: Context) -> Empty:
    """DELETE /2.0/mlflow/registered-models/delete-tag

    A tag that does not exist is not an error. Errors: RESOURCE_DOES_NOT_EXIST (model).
    """
    check_model_name(req.name)
    check_name(req.key, "key")
    await ctx.db.write(_delete_tag, req.name, req.key)
    events.model_tag_deleted(ctx, req.name, req.key)
    return EMPTY


async def _set_alias(tx: Tx, name: str, alias: str, number: int) -> None:
    # Without the lock, the version could be deleted before the alias is inserted.
    await tx.fetchrow(sql.LOCK.of(tx), name)
    await existing_version(tx, name, number)
    await tx.execute(sql.UPSERT_ALIAS.of(tx), name, alias, number)


async def set_alias(req: SetAlias, ctx: Context) -> Empty:
    """POST /2.0/mlflow/registered-models/alias

    An existing alias moves to the version. Errors: INVALID_PARAMETER_VALUE (alias),
    RESOURCE_DOES_NOT_EXIST (version).
    """
    check_model_name(req.name)
    check_alias(req.alias)
    check_settable(req.alias)
    await ctx.db.write(_set_alias, req.name, req.alias, parse_version(req.version))
    events.alias_set(ctx, req.name, req.alias, req.version)
    return EMPTY


async def _delete_alias(tx: Tx, name: str, alias: str) -> None:
    await existing(tx, name)
    await tx.execute(sql.DELETE_ALIAS.of(tx), name, alias)


async def delete_alias(req: AliasKey, ctx: Context) -> Empty:
    """DELETE /2.0/mlflow/registered-models/alias

    An alias that does not exist is not an error. Errors: RESOURCE_DOES_NOT_EXIST (model).
    """
    check_model_name(req.name)
    check_alias(req.alias)
    await ctx.db.write(_delete_alias, req.name, req.alias)
    events.alias_deleted(ctx, req.name, req.alias)
    return EMPTY


async def get_by_alias(req: AliasKey, ctx: Context) -> ModelVersionAnswer:
    """GET /2.0/mlflow/registered-models/alias

    Errors: INVALID_PARAMETER_VALUE (no such alias), RESOURCE_DOES_NOT_EXIST (model).
    """
    check_model_name(req.name)
    check_alias(req.alias)
    found = await ctx.db.read_point(version_by_alias, req.name, req.alias)
    return ModelVersionAnswer(model_version=model_version(found, hidden(ctx.access)))
