"""Converts rows of registered models to answers."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.api.nouns import KeyValue
from headrace.api.registry.models.lookup import is_prompt
from headrace.api.registry.models.transactions import Belongings
from headrace.api.registry.models.types import Alias, RegisteredModel
from headrace.api.registry.versions.types import ModelVersion
from headrace.api.registry.versions.view import model_version
from headrace.auth.redactions import Hidden
from headrace.db.base import Row


def models(rows: Sequence[Row], belongings: Belongings, hidden: Hidden) -> list[RegisteredModel]:
    """The models with their `Belongings`, in the order of `rows` (`sql.COLUMNS`).

    Their latest versions are omitted if they are hidden.
    """
    tags: dict[str, list[KeyValue]] = {row[0]: [] for row in rows}
    aliases: dict[str, list[Alias]] = {row[0]: [] for row in rows}
    versions: dict[str, list[ModelVersion]] = {row[0]: [] for row in rows}
    for name, key, value in belongings.tags:
        tags[name].append(KeyValue(key, value or ""))
    for name, alias, version in belongings.aliases:
        aliases[name].append(Alias(alias, str(version)))
    for one in belongings.versions:
        versions[one.row.name].append(model_version(one, hidden))
    if hidden.model_versions or hidden.prompt_versions:
        for name in versions:
            if versions_hidden({tag.key: tag.value for tag in tags[name]}, hidden):
                versions[name] = []
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


def versions_hidden(tags: dict[str, str], hidden: Hidden) -> bool:
    """Whether the versions of a model with these tags are hidden."""
    return hidden.prompt_versions if is_prompt(tags) else hidden.model_versions
