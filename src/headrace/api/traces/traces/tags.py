"""The writes of tags, and of links to versions of prompts and to runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.api.traces.state import ARTIFACT_LOCATION, NAME, SPANS_LOCATION, Group
from headrace.api.traces.traces.start import ARCHIVAL_FAILURE, ARCHIVE_LOCATION, MAX_NAME
from headrace.api.traces.writes import Write
from headrace.contract import errors
from headrace.contract.errors import invalid
from headrace.contract.limits import MAX_ENTITY_KEY, MAX_TAG_VALUE
from headrace.contract.names import check_length, check_name
from headrace.contract.texts import refuse_unstorable

if TYPE_CHECKING:
    from headrace.api.traces.state import Needs

# The artifact location is immutable since MLflow 3.18: a client could name any place in it.
IMMUTABLE: Final = frozenset(
    {SPANS_LOCATION, ARCHIVE_LOCATION, ARCHIVAL_FAILURE, ARTIFACT_LOCATION}
)
MAX_LINKS: Final = 100  # traces per link-to-run
RUN: Final = "run"
PROMPT_VERSION: Final = "prompt_version"


def check_mutable(key: str, what: str, but: str = "") -> None:
    """Raise INVALID_PARAMETER_VALUE for a tag that only the server writes."""
    if key in IMMUTABLE and key != but:
        raise invalid(f"Tag '{key}' is immutable and cannot be {what} on a trace.")


class SetTag(Write):
    """Sets a tag, or the name of a trace."""

    __slots__ = ("key", "value")

    def __init__(self, trace_id: str, key: str, value: str | None) -> None:
        """Raises INVALID_PARAMETER_VALUE."""
        super().__init__(trace_id)
        check_mutable(key, "set")
        check_name(key, "key")
        check_length("key", MAX_ENTITY_KEY, key)
        self.key = key
        self.value = (value or "")[:MAX_TAG_VALUE]
        refuse_unstorable(self.value, "value")
        if key == NAME:
            check_length("Trace name", MAX_NAME, self.value)

    def apply(self, group: Group) -> None:
        held = group.existing(self.trace_ids[0])
        if self.key == NAME:
            held.change(trace_name=self.value)
        else:
            held.tag(self.key, self.value)


class DeleteTag(Write):
    """Deletes a tag, or the name of a trace."""

    __slots__ = ("key",)

    def __init__(self, trace_id: str, key: str) -> None:
        """Raises INVALID_PARAMETER_VALUE."""
        super().__init__(trace_id)
        check_mutable(key, "deleted", but=ARCHIVAL_FAILURE)
        self.key = key

    def need(self, needs: Needs) -> None:
        super().need(needs)
        needs.tags.add(self.key)

    def apply(self, group: Group) -> None:
        held = group.traces.get(self.trace_ids[0])
        if held is not None and self.key == NAME and held.row["trace_name"] is not None:
            held.change(trace_name=None)
        elif held is not None and self.key != NAME and self.key in held.tags:
            held.untag(self.key)
        else:
            trace_id = self.trace_ids[0]
            raise errors.not_found(
                f"No trace tag with key '{self.key}' for trace with ID '{trace_id}'"
            )


class LinkPrompts(Write):
    """Links a trace to versions of prompts."""

    __slots__ = ("versions",)

    def __init__(self, trace_id: str, versions: list[str]) -> None:
        """`versions` are `name/version`."""
        super().__init__(trace_id)
        self.versions = versions

    def apply(self, group: Group) -> None:
        group.existing(self.trace_ids[0])
        for version in self.versions:
            group.link(self.trace_ids[0], PROMPT_VERSION, version)


class LinkToRun(Write):
    """Links traces to a run; neither needs to exist."""

    __slots__ = ("linked", "run_id")

    def __init__(self, trace_ids: list[str], run_id: str) -> None:
        super().__init__()
        self.linked = trace_ids
        self.run_id = run_id

    def apply(self, group: Group) -> None:
        for trace_id in self.linked:
            group.link(trace_id, RUN, self.run_id)
