"""Handlers of label schemas. Times are milliseconds since the epoch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

import msgspec

from headrace import search
from headrace.api.context import Context
from headrace.api.evaluation.label_schemas import rules, sql, transactions
from headrace.api.evaluation.label_schemas.sql import SchemaRow
from headrace.api.evaluation.label_schemas.types import (
    CreateLabelSchema,
    Input,
    LabelSchema,
    LabelSchemaAnswer,
    LabelSchemaId,
    LabelSchemaName,
    LabelSchemaPage,
    LabelSchemaType,
    ListLabelSchemas,
    UpdateLabelSchema,
)
from headrace.api.pieces import FEW_ITEMS, Listing, keys_of, pieces
from headrace.api.results import Chunks
from headrace.contract.doubles import double
from headrace.contract.errors import invalid
from headrace.contract.experiment_ids import parse_id
from headrace.contract.scalars import Empty
from headrace.db.base import Row, Tx
from headrace.db.errors import UniqueViolation

PAGE: Final = 100  # schemas per page


def show(row: SchemaRow) -> LabelSchema:
    """A schema as answers show it."""
    config = json.loads(row.input_config)  # accepts NaN
    for name, value in config.items():
        if isinstance(value, float):
            config[name] = double(value)
    return LabelSchema(
        schema_id=row.schema_id,
        experiment_id=str(row.experiment_id),
        name=row.name,
        type=LabelSchemaType(row.type.upper()),
        instruction=row.instruction,
        enable_comment=bool(row.enable_comment),
        input=msgspec.convert({row.input_type: config}, Input),
        created_by=row.created_by,
        created_at=row.created_time,
        last_updated_at=row.last_update_time,
        is_default=bool(row.is_default),
    )


def _show_all(rows: Iterable[Row]) -> list[LabelSchema]:
    return [show(SchemaRow(*row)) for row in rows]


SCHEMAS: Final[Listing[str]] = Listing(
    b"label_schemas", sql.weigh, sql.read, _show_all, always_token=True
)


async def create(req: CreateLabelSchema, ctx: Context) -> LabelSchemaAnswer:
    """POST /3.0/mlflow/label-schemas/create

    Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (no active experiment),
    RESOURCE_ALREADY_EXISTS (the name).
    """
    sql.check_served(ctx.db.schema)
    if req.type is None or req.type is LabelSchemaType.LABEL_SCHEMA_TYPE_UNSPECIFIED:
        raise invalid(
            "Label schema `type` must be one of FEEDBACK or EXPECTATION; got proto enum value 0."
        )
    kind = rules.kind_of(req.input)
    rules.check_name(req.name)
    rules.check_instruction(req.instruction)
    assert req.input is not None, "it has a kind"
    row = transactions.new_row(
        parse_id(req.experiment_id),
        req.name,
        kind,
        rules.config_of(req.input, kind),
        type_=req.type.lower(),
        instruction=req.instruction,
        enable_comment=bool(req.enable_comment),
    )
    try:
        await ctx.db.write(transactions.create, row)
    except UniqueViolation as error:
        if error.table != "label_schemas":
            raise
        raise rules.name_taken(row.name, row.experiment_id) from error
    return LabelSchemaAnswer(label_schema=show(row))


async def get(req: LabelSchemaId, ctx: Context) -> LabelSchemaAnswer:
    """GET /3.0/mlflow/label-schemas/get. Errors: RESOURCE_DOES_NOT_EXIST."""
    sql.check_served(ctx.db.schema)
    row = await ctx.db.read_point(transactions.get, req.schema_id)
    return LabelSchemaAnswer(label_schema=show(row))


async def get_by_name(req: LabelSchemaName, ctx: Context) -> LabelSchemaAnswer:
    """GET /3.0/mlflow/label-schemas/get-by-name. Errors: RESOURCE_DOES_NOT_EXIST."""
    sql.check_served(ctx.db.schema)
    number = parse_id(req.experiment_id)
    row = await ctx.db.read_point(transactions.get_by_name, number, req.name)
    return LabelSchemaAnswer(label_schema=show(row))


async def list_schemas(req: ListLabelSchemas, ctx: Context) -> LabelSchemaPage | Chunks:
    """GET /3.0/mlflow/label-schemas/list

    The newest first. The first list of an experiment creates its default schema. Errors:
    RESOURCE_DOES_NOT_EXIST (no active experiment), INVALID_PARAMETER_VALUE.
    """
    sql.check_served(ctx.db.schema)
    limit = search.check_page_size(PAGE if req.max_results is None else req.max_results)
    number, offset = parse_id(req.experiment_id), search.offset_of(req.page_token)
    if not await ctx.db.read_point(transactions.has_default, number):
        await ctx.db.write(transactions.make_default, number)
    if limit > FEW_ITEMS:
        keys, token = await ctx.db.read(keys_of, sql.page(number, limit, offset, keys=True))
        return Chunks(pieces(ctx.db, SCHEMAS, keys, token))
    rows, token = await ctx.db.read_point(_page, sql.page(number, limit, offset))
    return LabelSchemaPage(label_schemas=_show_all(rows), next_page_token=token or "")


async def _page(tx: Tx, page: search.Page) -> tuple[Iterable[Row], str | None]:
    return page.cut(await tx.fetch(sql.PAGE, *page.args))


async def update(req: UpdateLabelSchema, ctx: Context) -> LabelSchemaAnswer:
    """PATCH /3.0/mlflow/label-schemas/update

    Fields that are not set keep their values. Errors: RESOURCE_DOES_NOT_EXIST,
    INVALID_PARAMETER_VALUE (a default schema, another kind of input), RESOURCE_ALREADY_EXISTS.
    """
    sql.check_served(ctx.db.schema)
    try:
        row = await ctx.db.write(transactions.update, req)
    except UniqueViolation as error:
        if error.table != "label_schemas":
            raise
        found = await ctx.db.read_point(transactions.get, req.schema_id)
        raise rules.name_taken(req.name or "", found.experiment_id) from error
    return LabelSchemaAnswer(label_schema=show(row))


async def delete(req: LabelSchemaId, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/label-schemas/delete

    Deleting it again is no error. Errors: INVALID_PARAMETER_VALUE (a default schema).
    """
    sql.check_served(ctx.db.schema)
    await ctx.db.write(transactions.delete, req.schema_id)
    return Empty()
