"""Issues of an experiment: creation, changes, and the search for them."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, experiment, get, patch, post, run

ISSUES = "/api/3.0/mlflow/issues"


def create(label: str, *, keep: str = "", **fields: Any) -> Ask:
    """Create an issue of `$exp`."""
    body = {"experiment_id": "$exp", "name": label, "description": "d"} | fields
    return post(label, ISSUES, body, keep={keep: "issue.issue_id"} if keep else {}, pause_ms=3)


def update(label: str, **fields: Any) -> Ask:
    """Change `$issue`."""
    return patch(label, f"{ISSUES}/$issue", {"issue_id": "$issue"} | fields)


def search(label: str, filter_string: Any = None, **fields: Any) -> Ask:
    """Search the issues of `$exp`."""
    body = {"experiment_id": "$exp", "filter_string": filter_string} | fields
    return post(label, f"{ISSUES}/search", body)


def found_in(number: int) -> Ask:
    """A trace in which `$issue` was found."""
    info = {
        "trace_id": f"tr-{number}-$exp",
        "trace_location": {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": "$exp"},
        },
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
        "assessments": [
            {
                "assessment_name": "$issue",
                "trace_id": f"tr-{number}-$exp",
                "source": {"source_type": "HUMAN", "source_id": "u"},
                "create_time": "2026-01-01T00:00:00Z",
                "last_update_time": "2026-01-01T00:00:00Z",
                "issue": {"issue_name": "n"},
            }
        ],
    }
    return post(f"trace {number}", "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}})


CREATION = Dialogue(
    "issues",
    (
        experiment(),
        run(),
        create("everything", keep="issue", status="resolved", severity="high", root_causes=["a", "b"],
               source_run_id="$run", categories=["tone"], created_by="bob"),
        create("minimal"),
        create("empty texts", source_run_id="", created_by="", root_causes=[], categories=[]),
        create("an unknown status", status="open"),
        create("an unknown severity", severity="huge"),
        create("an empty severity", severity=""),
        create("an unknown run", source_run_id="nope"),
        create("no name", name=None),
        create("an empty description", description=""),
        create("no experiment", experiment_id=None),
        create("an unknown experiment", experiment_id="999999"),
        create("an experiment that is no number", experiment_id="x"),
        create("causes as a text", root_causes="a"),
        get("it", f"{ISSUES}/$issue"),
        get("an unknown issue's details", f"{ISSUES}/iss-nope"),
        update("another status", status="rejected"),
        update("another severity", severity="low"),
        update("other texts", name="n2", description="d2"),
        update("empty texts change nothing", name="", description=""),
        update("an unknown status again", status="open"),
        update("an unknown severity again", severity="huge"),
        patch("without the id in the body", f"{ISSUES}/$issue", {"status": "pending"}),
        patch("an unknown issue", f"{ISSUES}/iss-nope", {"issue_id": "iss-nope", "status": "pending"}),
        get("after the changes", f"{ISSUES}/$issue"),
        post("delete the experiment", "experiments/delete", {"experiment_id": "$exp"}),
        create("in a deleted experiment"),
        get("of a deleted experiment", f"{ISSUES}/$issue"),
    ),
)  # fmt: skip

SEARCH = Dialogue(
    "issues: search",
    (
        experiment(),
        run(),
        search("none"),
        create("low", severity="low", keep="issue"),
        create("none at all", severity="not_an_issue", source_run_id="$run"),
        create("high", severity="high", status="resolved"),
        create("unset"),
        create("low, newer", severity="low"),
        found_in(1),
        found_in(2),
        search("all"),
        search("with traces", include_trace_count=True),
        search("without traces", include_trace_count=False),
        search("a status", "status = 'resolved'"),
        search("another status", "status != 'resolved'"),
        search("double quotes", 'status = "resolved"'),
        search("of a run", "source_run_id = '$run'"),
        search("another run", "source_run_id != '$run'"),
        search("both", "status = 'pending' AND source_run_id = '$run'"),
        search("OR", "status = 'pending' OR status = 'resolved'"),
        search("an unknown field", "bogus = 'x'"),
        search("a prefix", "attributes.status = 'pending'"),
        search("an unknown comparator", "status > 'a'"),
        search("LIKE", "status LIKE 'p%'"),
        search("no comparison", "status"),
        search("an empty filter", ""),
        search("a page", max_results=2),
        search("the next page", max_results=2, page_token="eyJvZmZzZXQiOiAyfQ=="),
        search("the last page", max_results=2, page_token="eyJvZmZzZXQiOiA0fQ=="),
        search("a wrong token", page_token="zz"),
        search("zero", max_results=0),
        search("a negative page", max_results=-1),
        search("too many", max_results=50001),
        search("of an unknown experiment", experiment_id="999999"),
        search("in no number", experiment_id="x"),
    ),
)

DIALOGUES = (CREATION, SEARCH)
