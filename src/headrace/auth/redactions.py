"""The parts that an answer must not show because a grant denies their whole type. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.auth.access import UNRESTRICTED

if TYPE_CHECKING:
    from headrace.auth.access import Access

SOURCE_RUN: Final = "mlflow.sourceRun"
MODEL_ID: Final = "mlflow.modelId"


class Hidden(NamedTuple):
    """The types that are denied to a caller. Answers omit their ids, or the objects themselves.

    Stock does the same (3.17.2: the redact_ functions of mlflow.server.auth), so that a caller
    cannot list by another route what the routes of the type refuse.
    """

    runs: bool = False  # run ids in model versions, logged models and metadata of traces
    logged_models: bool = False  # the models that a run read and wrote, or that wrote a trace
    model_versions: bool = False  # the latest versions of a registered model
    prompt_versions: bool = False  # and of a prompt
    assessments: bool = False  # of traces

    def run_id(self, run_id: str | None) -> str | None:
        """The id or the link of a run; None if it is hidden. An empty text is no id."""
        return None if self.runs and run_id else run_id

    def trace_metadata(self) -> frozenset[str]:
        """The keys of metadata that are hidden."""
        keys = {SOURCE_RUN: self.runs, MODEL_ID: self.logged_models}
        return frozenset(key for key, is_hidden in keys.items() if is_hidden)


NOTHING_HIDDEN: Final = Hidden()


def hidden(access: Access) -> Hidden:
    """The types that are denied to a caller."""
    if access is UNRESTRICTED:
        return NOTHING_HIDDEN
    return Hidden(
        access.hides("run"),
        access.hides("logged_model"),
        access.hides("registered_model_version"),
        access.hides("prompt_version"),
        access.hides("assessment"),
    )
