"""The rules of model versions that depend on several fields of a request. No I/O."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from headrace.api.registry.models.lookup import is_prompt, merged
from headrace.api.registry.versions import source as sources
from headrace.auth.rules import (
    Demand,
    Need,
    Needs,
    logged_model,
    model,
    run,
    undenied,
    versions_undenied,
)
from headrace.contract.errors import ApiError
from headrace.contract.names import IS_PROMPT
from headrace.search.registry import parse_versions_filter
from headrace.search.tree import compares

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.api.registry.versions.types import CreateModelVersion, SearchModelVersions

_READ_SOURCE: Final = Need("registered_model", "read", named="existing_model")
_READ_RUN: Final = run("read")
_READ_LOGGED_MODEL: Final = logged_model("read")


def filters_by_run(req: SearchModelVersions) -> bool:
    """Whether the answer tells the runs of versions by which of them it contains."""
    return compares(parse_versions_filter, req.filter, "run_id")


class CreatesVersion(Needs):
    """Users who may update the model and read the source of the new version.

    The source is a registered model (`models:/NAME/…`), or the run and the logged model that
    `run_id`, `model_id` or `models:/m-…` name. A tag that makes the version a prompt, or not, unlike
    its model, requires that no grant denies that type of versions.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(model("update"), versions_undenied())

    def demands(self, *found: Any) -> Iterator[Demand]:
        """See `Rule.demands`."""
        req: CreateModelVersion = found[0]
        yield from super().demands(req)
        tags = merged(req.tags)
        if IS_PROMPT in tags:
            tier = undenied("prompt_version" if is_prompt(tags) else "registered_model_version")
            yield tier.demand(None)
        uri = _models_uri(req.source)
        if uri.name:
            yield _READ_SOURCE.demand(uri.name)
            return
        # An empty id is one that does not exist.
        if req.run_id is not None:
            yield _READ_RUN.demand(req.run_id)
        if req.model_id is not None:
            yield _READ_LOGGED_MODEL.demand(req.model_id)
        if uri.model_id:
            yield _READ_LOGGED_MODEL.demand(uri.model_id)


def _models_uri(source: str) -> sources.ModelUri:
    """The target of a source; an empty one for other sources and for those that are not valid."""
    with suppress(ApiError):  # the handler reports it
        parts = sources.split(source)
        if parts.scheme == "models" and not parts.netloc:
            return sources.parse_models_uri(source)
    return sources.ModelUri()
