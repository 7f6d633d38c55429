"""The rules of registered models that depend on the tags of a request. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.api.registry.models.lookup import is_prompt, merged

if TYPE_CHECKING:
    from headrace.api.registry.models.types import CreateRegisteredModel


def creates_prompt(req: CreateRegisteredModel) -> bool:
    """Whether the new model is a prompt."""
    return is_prompt(merged(req.tags))


def creates_model(req: CreateRegisteredModel) -> bool:
    """Whether the new model is not a prompt."""
    return not creates_prompt(req)
