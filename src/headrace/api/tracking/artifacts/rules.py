"""The rules of artifacts that depend on several fields of a request. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.auth.rules import Needs, logged_model, run
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.paths import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.api.context import Context
    from headrace.api.tracking.artifacts.types import PresignUpload
    from headrace.auth.rules import Demand


IMMUTABLE: Final = "Skill upload content is immutable; register a new version instead"


def check_one_owner(req: PresignUpload) -> None:
    """Raise INVALID_PARAMETER_VALUE unless the request names a run or a logged model, not both."""
    if bool(req.run_id) == bool(req.model_id):
        raise invalid("Exactly one of run_id and model_id must be provided.")


def is_immutable(path: str, ctx: Context) -> bool:
    """Whether a safe path is below the folder where MLflow 3.18 keeps uploaded skills.

    A database without tables of skills has none; any client may use the folder then, as in 3.17.
    """
    if ctx.settings.artifacts_only or not ctx.db.schema.has("skills", "name"):
        return False
    parts = [part for part in decoded(path).split("/") if part not in ("", ".")]
    if len(parts) >= 2 and parts[0].lower() == "workspaces":
        parts = parts[2:]
    return bool(parts) and parts[0].lower() == "skills"


def check_mutable(path: str, ctx: Context) -> None:
    """Raise PERMISSION_DENIED for a path of skills."""
    if is_immutable(path, ctx):
        raise ApiError(ErrorCode.PERMISSION_DENIED, IMMUTABLE)


class PresignsUpload(Needs):
    """Users who may update the run or the logged model that a request names.

    A request that names both or none is not valid for anyone, as in MLflow.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(run("update", "run_id"), logged_model("update"))

    def demands(self, *sources: Any) -> Iterator[Demand]:
        """See `Rule.demands`."""
        check_one_owner(sources[0])
        yield from super().demands(*sources)
