"""Requests and answers of issues."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.contract.scalars import (
    NUMBER_AS_TEXT,
    ExperimentNumber,
    Int32,
    LongStr,
    Message,
    OptionalInt64,
    RequiredStr,
    Text,
    UncheckedStr,
)

# The handler refuses other words.
STATUSES: Final = ("pending", "rejected", "resolved")
SEVERITIES: Final = ("not_an_issue", "low", "medium", "high")  # the lowest first
Status = Annotated[UncheckedStr, Meta(extra_json_schema={"enum": list(STATUSES)})]
Severity = Annotated[UncheckedStr, Meta(extra_json_schema={"enum": list(SEVERITIES)})]


class CreateIssue(Message):
    """POST issues"""

    __kept_ids__ = ("issue_id",)  # the client chooses it

    experiment_id: ExperimentNumber
    name: RequiredStr
    description: RequiredStr
    status: Status = None
    severity: Severity = None
    root_causes: list[Text] = []
    source_run_id: UncheckedStr = None
    created_by: UncheckedStr = None
    categories: list[Text] = []
    # since MLflow 3.18
    issue_id: UncheckedStr = None
    last_seen_timestamp: OptionalInt64 = None
    metadata: dict[str, str] | None = None


class IssueId(Message):
    """GET issues/{issue_id}"""

    issue_id: UncheckedStr = None


class UpdateIssue(Message):
    """PATCH issues/{issue_id}: fields that are not set keep their values. The body names the issue too.

    At the schema of MLflow 3.17, empty texts keep the values as well.
    """

    issue_id: Annotated[Text, Meta(min_length=1, extra={"checks": ("required",)})]
    name: UncheckedStr = None
    description: UncheckedStr = None
    status: Status = None
    severity: Severity = None
    # since MLflow 3.18; an empty list of categories removes them
    categories: list[Text] | None = None
    last_seen_timestamp: OptionalInt64 = None
    last_updated_by: UncheckedStr = None
    metadata: dict[str, str] | None = None
    delete_metadata_keys: list[Text] = []


class SearchIssues(Message):
    """POST issues/search"""

    experiment_id: Annotated[UncheckedStr, Meta(extra_json_schema=NUMBER_AS_TEXT)] = None
    filter_string: LongStr = None
    max_results: Annotated[
        Int32 | None, Meta(extra_json_schema={"minimum": 1, "maximum": SEARCH_MAX_RESULTS})
    ] = None
    page_token: UncheckedStr = None
    include_trace_count: bool | None = None
    # since MLflow 3.18
    name: UncheckedStr = None
    statuses: list[Text] = []
    severities: list[Text] = []
    categories: list[Text] = []
    order_by: list[Text] = []
    include_total_count: bool | None = None
    view: UncheckedStr = None


class Issue(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """An issue; times in milliseconds since the epoch."""

    issue_id: str
    experiment_id: str
    name: str
    description: str
    status: str
    severity: str | None = None
    root_causes: list[str] = []
    source_run_id: str | None = None
    created_timestamp: int
    last_updated_timestamp: int
    created_by: str | None = None
    categories: list[str] = []
    trace_count: int | None = None
    last_seen_timestamp: int | None = None
    last_updated_by: str | None = None
    metadata: dict[str, str] = {}


class IssueAnswer(Message):
    """One issue."""

    issue: Issue


class IssuePage(Message, kw_only=True):
    """A page of issues; the token is empty after the last page."""

    issues: list[Issue] = []
    next_page_token: str
    total_count: int | None = None
