"""Converts rows of model versions to answers."""

from __future__ import annotations

from headrace.api.nouns import KeyValue
from headrace.api.registry.versions.sql import Whole
from headrace.api.registry.versions.types import ModelVersion
from headrace.auth.redactions import Hidden


def model_version(found: Whole, hidden: Hidden) -> ModelVersion:
    """A version with its tags and aliases, and its run unless that is hidden."""
    (
        name,
        version,
        created,
        updated,
        user,
        stage,
        description,
        source,
        run_id,
        status,
        message,
        link,
    ) = found.row[:12]
    return ModelVersion(
        name=name,
        version=str(version),
        creation_timestamp=created,
        last_updated_timestamp=updated,
        user_id=user,
        current_stage=stage,
        description=description,
        source=source,
        run_id=hidden.run_id(run_id),
        status=status,
        status_message=message or None,
        tags=[KeyValue(tag[2], tag[3] or "") for tag in found.tags],
        run_link=hidden.run_id(link),
        aliases=list(found.aliases),
    )
