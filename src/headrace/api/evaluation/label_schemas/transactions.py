"""Transactions on label schemas."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

from headrace.api.evaluation.label_schemas import rules, sql
from headrace.api.evaluation.label_schemas.sql import SchemaRow
from headrace.contract.clock import now_ms
from headrace.contract.errors import (
    experiment_not_found,
    invalid,
    label_schema_not_found,
    not_found,
)

if TYPE_CHECKING:
    from typing import Any

    from headrace.api.evaluation.label_schemas.types import UpdateLabelSchema
    from headrace.db.base import Tx


def new_row(
    experiment_id: int,
    name: str,
    kind: str,
    config: dict[str, Any],
    *,
    type_: str,
    instruction: str | None,
    enable_comment: bool,
    is_default: bool = False,
) -> SchemaRow:
    """A schema that is created now."""
    now, id_ = now_ms(), f"ls-{uuid.uuid4().hex}"
    return SchemaRow(
        schema_id=id_,
        experiment_id=experiment_id,
        name=name,
        type=type_,
        instruction=instruction,
        enable_comment=enable_comment,
        input_type=kind,
        input_config=json.dumps(config),
        created_by=None,
        created_time=now,
        last_update_time=now,
        is_default=is_default,
    )


async def check_experiment(tx: Tx, experiment_id: int) -> None:
    """Raise RESOURCE_DOES_NOT_EXIST unless the experiment is active."""
    if not await sql.is_active(tx, experiment_id):
        raise experiment_not_found(experiment_id)


async def create(tx: Tx, row: SchemaRow) -> None:
    """Insert a schema. Raises RESOURCE_DOES_NOT_EXIST, RESOURCE_ALREADY_EXISTS."""
    await check_experiment(tx, row.experiment_id)
    if await tx.fetchrow(sql.BY_NAME, row.experiment_id, row.name) is not None:
        raise rules.name_taken(row.name, row.experiment_id)
    await tx.execute(sql.INSERT, *row)


async def get(tx: Tx, schema_id: str) -> SchemaRow:
    """Return a schema. Raises RESOURCE_DOES_NOT_EXIST."""
    row = await sql.by_id(tx, schema_id)
    if row is None:
        raise label_schema_not_found(schema_id)
    return row


async def get_by_name(tx: Tx, experiment_id: int, name: str) -> SchemaRow:
    """Return the schema of an active experiment. Raises RESOURCE_DOES_NOT_EXIST."""
    await check_experiment(tx, experiment_id)
    row = await tx.fetchrow(sql.BY_NAME, experiment_id, name)
    if row is None:
        raise not_found(
            f"Label schema with name '{name}' not found for experiment '{experiment_id}'."
        )
    return SchemaRow(*row)


async def has_default(tx: Tx, experiment_id: int) -> bool:
    """Whether an active experiment has its default schema. Raises RESOURCE_DOES_NOT_EXIST."""
    await check_experiment(tx, experiment_id)
    return await tx.fetchrow(sql.HAS_DEFAULT, experiment_id) is not None


async def make_default(tx: Tx, experiment_id: int) -> None:
    """Create the default schema of an experiment, unless it or one of its name exists."""
    if not await has_default(tx, experiment_id):
        row = new_row(
            experiment_id,
            rules.DEFAULT_NAME,
            "text",
            {"max_length": None},
            type_="feedback",
            instruction=rules.DEFAULT_INSTRUCTION,
            enable_comment=False,
            is_default=True,
        )
        await tx.execute(sql.INSERT_DEFAULT, *row)


async def update(tx: Tx, req: UpdateLabelSchema) -> SchemaRow:
    """Change the fields of a schema that are set, and return it.

    Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS.
    """
    found = await tx.fetchrow(sql.LOCKED, req.schema_id)
    if found is None:
        raise label_schema_not_found(req.schema_id)
    row = SchemaRow(*found)
    if row.is_default:
        raise invalid("The experiment's default question cannot be edited.")
    changed = row._replace(last_update_time=now_ms())
    if req.name is not None:
        rules.check_name(req.name)
        changed = changed._replace(name=req.name)
    if req.instruction is not None:
        rules.check_instruction(req.instruction)
        changed = changed._replace(instruction=req.instruction)
    if req.enable_comment is not None:
        changed = changed._replace(enable_comment=req.enable_comment)
    if req.input is not None:
        kind = rules.kind_of(req.input)
        config = rules.config_of(req.input, kind)
        rules.check_same_kind(row, kind, config)
        changed = changed._replace(input_config=json.dumps(config))
    if changed.name != row.name:
        named = await tx.fetchrow(sql.BY_NAME, row.experiment_id, changed.name)
        if named is not None:
            raise rules.name_taken(changed.name, row.experiment_id)
    await tx.execute(
        sql.UPDATE,
        row.schema_id,
        changed.name,
        changed.instruction,
        changed.enable_comment,
        changed.input_config,
        changed.last_update_time,
    )
    return changed


async def delete(tx: Tx, schema_id: str) -> None:
    """Delete a schema if it exists. Raises INVALID_PARAMETER_VALUE for a default one."""
    found = await tx.fetchrow(sql.LOCKED, schema_id)
    if found is None:
        return
    if SchemaRow(*found).is_default:
        raise invalid("The experiment's default question cannot be deleted.")
    await tx.execute(sql.DELETE, schema_id)
