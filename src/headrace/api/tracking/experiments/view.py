"""Conversion of rows to answers: an experiment and its tags, as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.api.nouns import Tag
from headrace.api.tracking.experiments.types import Experiment
from headrace.contract.workspaces import DEFAULT
from headrace.db.base import Row


def experiment(row: Row, tags: Sequence[Row], workspace: str = DEFAULT) -> Experiment:
    """Return an experiment from its row of `experiments` and its rows of `experiment_tags`."""
    number, name, artifact_location, stage, created, updated = row
    return Experiment(
        experiment_id=str(number),
        name=name,
        artifact_location=artifact_location or "",
        lifecycle_stage=stage,
        last_update_time=updated,
        creation_time=created,
        tags=[Tag(key=key, value=value or "") for _, key, value in tags],
        workspace=workspace,
    )


def experiments(
    rows: Sequence[Row], tag_rows: Sequence[Row], workspace: str = DEFAULT
) -> list[Experiment]:
    """Return the experiments in the order of `rows`, each with its tags."""
    tags: dict[int, list[Row]] = {}
    for tag in tag_rows:
        tags.setdefault(tag[0], []).append(tag)
    return [experiment(row, tags.get(row[0], ()), workspace) for row in rows]
