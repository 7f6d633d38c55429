"""Converts rows of registered models to answers."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.api.nouns import KeyValue
from headrace.api.registry.models.transactions import Belongings
from headrace.api.registry.models.types import Alias, RegisteredModel
from headrace.api.registry.versions.types import ModelVersion
from headrace.api.registry.versions.view import model_version
from headrace.db.base import Row


def models(rows: Sequence[Row], belongings: Belongings) -> list[RegisteredModel]:
    """The models with their `Belongings`, in the order of `rows` (`sql.COLUMNS`)."""
    tags: dict[str, list[KeyValue]] = {row[0]: [] for row in rows}
    aliases: dict[str, list[Alias]] = {row[0]: [] for row in rows}
    versions: dict[str, list[ModelVersion]] = {row[0]: [] for row in rows}
    for name, key, value in belongings.tags:
        tags[name].append(KeyValue(key, value or ""))
    for name, alias, version in belongings.aliases:
        aliases[name].append(Alias(alias, str(version)))
    for one in belongings.versions:
        versions[one.row.name].append(model_version(one))
    return [
        RegisteredModel(
            name=name,
            creation_timestamp=created,
            last_updated_timestamp=updated or None,
            description=description or None,
            latest_versions=versions[name],
            tags=tags[name],
            aliases=aliases[name],
        )
        for name, created, updated, description in rows
    ]
