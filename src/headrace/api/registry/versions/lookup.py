"""Lookup of model versions by number, alias or stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.api.pieces import ALL_ROWS
from headrace.api.registry.models import sql as models_sql
from headrace.api.registry.models.lookup import LATEST, existing
from headrace.api.registry.versions import sql
from headrace.api.registry.versions.sql import VersionRow, Whole
from headrace.contract.errors import ApiError, invalid, not_found
from headrace.contract.scalars import INT32_MAX, INT32_MIN
from headrace.db.base import Tx

STAGES: Final = ("None", "Staging", "Production", "Archived")
ACTIVE_STAGES: Final = ("Staging", "Production")
_BY_LOWER: Final = {stage.lower(): stage for stage in STAGES}


def parse_version(text: str) -> int:
    """A version number from a request. Raises INVALID_PARAMETER_VALUE."""
    try:
        return int(text)
    except ValueError:
        raise invalid(f"Parameter 'version' must be an integer, got '{text}'.") from None


def stage_of(text: str) -> str:
    """A stage from a request in its stored spelling. Raises INVALID_PARAMETER_VALUE."""
    stage = _BY_LOWER.get(text.lower())
    if stage is None:
        raise invalid(
            f"Invalid Model Version stage: {text}. Value must be one of {', '.join(STAGES)}."
        )
    return stage


def version_not_found(name: str, number: int) -> ApiError:
    """Return the error for a version that does not exist or is deleted."""
    return not_found(f"Model Version (name={name}, version={number}) not found")


async def existing_version(tx: Tx, name: str, number: int) -> VersionRow:
    """The row of a version. Raises RESOURCE_DOES_NOT_EXIST."""
    row = None
    if INT32_MIN <= number <= INT32_MAX:  # the column's range; drivers reject larger numbers
        row = await tx.fetchrow(sql.VERSION.of(tx), name, number)
    if row is None:
        raise version_not_found(name, number)
    return VersionRow(*row)


async def whole_version(tx: Tx, name: str, number: int, most: int = ALL_ROWS) -> Whole:
    """A version with its tags and aliases.

    Raises RESOURCE_DOES_NOT_EXIST, and `TooLong` for more than `most`.
    """
    return await sql.whole(tx, await existing_version(tx, name, number), most)


async def latest_versions(tx: Tx, name: str, stages: Sequence[str]) -> list[Whole]:
    """The newest version of each stage, or of each given stage, with aliases.

    Errors: RESOURCE_DOES_NOT_EXIST (model), INVALID_PARAMETER_VALUE (stage).
    """
    await existing(tx, name)
    wanted = {stage_of(stage) for stage in stages or STAGES}
    found = [one for one in await sql.latest(tx, [name]) if one.row.current_stage in wanted]
    aliases = await models_sql.aliases(tx, [name])
    for one in found:
        one.aliases = [alias for _, alias, version in aliases if version == one.row.version]
    return found


async def version_by_alias(tx: Tx, name: str, alias: str) -> Whole:
    """The version that an alias refers to; `latest` refers to the highest number.

    Errors: RESOURCE_DOES_NOT_EXIST (model, version), INVALID_PARAMETER_VALUE (alias).
    """
    if alias.lower() == LATEST:
        versions = await latest_versions(tx, name, ())
        if not versions:
            raise not_found(f"Latest version not found for model {name}.")
        return max(versions, key=lambda one: one.row.version)
    await existing(tx, name)
    row = await tx.fetchrow(models_sql.ALIAS.of(tx), name, alias)
    if row is None:
        raise invalid(f"Registered model alias {alias} not found.")
    return await whole_version(tx, name, row[0])
