"""The checks of a request on a gateway endpoint that its types cannot state. No I/O."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from headrace.api.gateway.endpoints.types import FallbackStrategy, Linkage, RoutingStrategy
from headrace.api.gateway.endpoints.view import single
from headrace.contract.errors import invalid

if TYPE_CHECKING:
    from headrace.api.gateway.endpoints.types import (
        CreateEndpoint,
        FallbackConfig,
        GetEndpoint,
        ModelConfig,
        UpdateEndpoint,
    )

_NAME: Final = re.compile(r"[a-zA-Z0-9_\-.]+")


def check_name(name: str | None) -> None:
    """Raise INVALID_PARAMETER_VALUE for a name that cannot be part of a URL."""
    if name and _NAME.fullmatch(name) is None:
        raise invalid(
            f"Invalid endpoint name '{name}'. "
            "Name can only contain letters, numbers, underscores, hyphens, and dots."
        )


def check_linkage(config: ModelConfig, place: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a model without a use; `place` is its field."""
    if config.linkage_type in (Linkage.PRIMARY, Linkage.FALLBACK):
        return
    raise invalid(
        f"Invalid or missing value for required parameter 'linkage_type' in {place}. "
        "Must be one of: PRIMARY, FALLBACK."
    )


def check_linkages(configs: list[ModelConfig]) -> None:
    """As `check_linkage`, for the models of an endpoint."""
    for index, config in enumerate(configs):
        check_linkage(config, f"model_configs[{index}]")


def weight_of(config: ModelConfig) -> float:
    """The share of requests as a 32-bit float. Raises INVALID_PARAMETER_VALUE for one that has none."""
    weight = 1.0 if config.weight is None else config.weight
    try:
        if not math.isnan(rounded := single(weight)) and not math.isinf(rounded):
            return rounded
    except OverflowError:
        pass
    raise invalid("The weight of a model must be a finite number of 32 bits.")


def strategy_of(given: RoutingStrategy | None) -> str | None:
    """The strategy to store."""
    if given is None or given is RoutingStrategy.ROUTING_STRATEGY_UNSPECIFIED:
        return None
    return given.value


def fallback_of(given: FallbackConfig | None, definition_ids: list[str]) -> dict[str, Any]:
    """The configuration of fallbacks to store, with the definitions of the fallback models."""
    strategy = None if given is None else given.strategy
    if strategy is FallbackStrategy.FALLBACK_STRATEGY_UNSPECIFIED:
        strategy = None
    return {
        "strategy": None if strategy is None else strategy.value,
        "max_attempts": None if given is None else given.max_attempts,
        "model_definition_ids": definition_ids,
    }


def fallback_ids(configs: list[ModelConfig]) -> list[str]:
    """The definitions of the fallback models."""
    return [
        config.model_definition_id or ""
        for config in configs
        if config.linkage_type is Linkage.FALLBACK
    ]


def names_no_definition(req: CreateEndpoint) -> bool:
    """Whether a new endpoint has no model definition, whose grants would decide."""
    return not any(config.model_definition_id for config in req.model_configs)


def names_experiment(req: CreateEndpoint) -> bool:
    """Whether a new endpoint will have an experiment: a given one, or one made for its traces."""
    return bool(req.experiment_id) or req.usage_tracking is not False


def by_id(req: GetEndpoint) -> bool:
    """Whether the id of a request decides, not its name."""
    return bool(req.endpoint_id) or not req.name


def by_name(req: GetEndpoint) -> bool:
    """Whether the name of a request decides."""
    return not by_id(req)


def given_experiments(req: UpdateEndpoint) -> tuple[str, ...]:
    """The experiment that a request gives an endpoint, with the endpoint: `endpoint_experiment`."""
    return (f"{req.endpoint_id}/{req.experiment_id}",) if req.experiment_id else ()
