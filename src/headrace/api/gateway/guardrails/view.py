"""Guardrails as answers show them. No I/O but the look-up of grants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.api.gateway.guardrails.sql import GuardrailRow
from headrace.api.gateway.guardrails.types import Config, Guardrail, Scorer
from headrace.auth.grantable import scorer_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.api.gateway.guardrails.sql import ConfigRow
    from headrace.auth.access import Access
    from headrace.db.base import Row


def guardrail(row: GuardrailRow, *, shows_scorer: bool = True) -> Guardrail:
    """A guardrail; its scorer contains the instructions of a judge."""
    scorer = Scorer(
        experiment_id=row.experiment_id,
        scorer_name=row.scorer_name,
        scorer_version=row.scorer_version,
        serialized_scorer=row.serialized_scorer,
        creation_time=row.creation_time,
        scorer_id=row.scorer_id,
    )
    return Guardrail(
        guardrail_id=row.guardrail_id,
        name=row.name,
        scorer=scorer if shows_scorer else None,
        stage=row.stage,
        action=row.action,
        action_endpoint_id=row.endpoint_name or None,
        created_by=row.created_by or "",
        created_at=row.created_at,
        last_updated_by=row.last_updated_by or "",
        last_updated_at=row.last_updated_at,
    )


def guardrails(rows: Iterable[Row]) -> list[Guardrail]:
    """All of some guardrails, for admins."""
    return [guardrail(GuardrailRow(*row)) for row in rows]


async def configs(access: Access, found: Sequence[tuple[ConfigRow, GuardrailRow]]) -> list[Config]:
    """Guardrails of an endpoint, with the scorers that the caller may read."""
    shows_versions = bool(await access.undenied("scorer_version", ["*"]))
    experiments, scorers = access.scope("experiment"), access.scope("scorer")

    def may_read(row: GuardrailRow) -> bool:
        experiment_id = str(row.experiment_id)
        return (
            shows_versions
            and (experiments is None or experiments.admits(experiment_id))
            and (scorers is None or scorers.admits(scorer_id(experiment_id, row.scorer_name)))
        )

    return [
        Config(
            **config._asdict() | {"created_by": config.created_by or ""},
            guardrail=guardrail(row, shows_scorer=may_read(row)),
        )
        for config, row in found
    ]
