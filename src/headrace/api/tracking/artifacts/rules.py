"""The rules of artifacts that depend on several fields of a request. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.auth.rules import Needs, logged_model, run
from headrace.contract.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.api.tracking.artifacts.types import PresignUpload
    from headrace.auth.rules import Demand


def check_one_owner(req: PresignUpload) -> None:
    """Raise INVALID_PARAMETER_VALUE unless the request names a run or a logged model, not both."""
    if bool(req.run_id) == bool(req.model_id):
        raise invalid("Exactly one of run_id and model_id must be provided.")


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
