"""Issues as MLflow 3.18 has them: own ids, categories, metadata, the last observation, orders, totals."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, experiment, get, patch, post, run

ISSUES = "/api/3.0/mlflow/issues"


def create(label: str, id_: str = "", **fields: Any) -> Ask:
    """Create an issue of `$exp`, with this id."""
    body = {"experiment_id": "$exp", "name": label, "description": "d"} | fields
    return post(label, ISSUES, body | ({"issue_id": id_} if id_ else {}), pause_ms=3)


def update(label: str, **fields: Any) -> Ask:
    """Change an issue."""
    return patch(label, f"{ISSUES}/iss-a", {"issue_id": "iss-a"} | fields)


def search(label: str, *, keep: str = "", **fields: Any) -> Ask:
    """Search the issues of `$exp`."""
    kept = {keep: "next_page_token"} if keep else {}
    return post(label, f"{ISSUES}/search", {"experiment_id": "$exp"} | fields, keep=kept)


MANY = [f"c{n}" for n in range(101)]
CREATION = Dialogue(
    "issues of 3.18",
    (
        experiment(),
        experiment("another", name="another $dialogue", keep="other"),
        run(),
        run("elsewhere", keep="elsewhere", experiment_id="$other"),
        create("everything", "iss-a", status="resolved", severity="high", root_causes=["a", "b"],
               source_run_id="$run", categories=["Tone", " tone ", "b"], created_by="bob",
               last_seen_timestamp=5, metadata={"k": "v", "l": ""}),
        create("minimal", "iss-b"),
        create("without an id"),
        create("the same id", "iss-a"),
        create("a wrong id", "x-a"),
        create("a long id", "iss-" + "a" * 33),
        create("an id with a letter that is none", "iss-ä"),
        create("a run of another experiment", source_run_id="$elsewhere"),
        create("an unknown run", source_run_id="nope"),
        create("an empty run", source_run_id=""),
        create("an unknown status", status="open"),
        create("an unknown severity", severity="huge"),
        create("a negative time", last_seen_timestamp=-1),
        create("a time of zero", last_seen_timestamp=0),
        create("n" * 250),
        create("n" * 251),
        create("many categories", categories=MANY),
        create("an empty category", categories=[""]),
        create("a long category", categories=["c" * 251]),
        create("many entries", metadata=dict.fromkeys(MANY, "v")),
        create("a long key", metadata={"k" * 251: "v"}),
        create("a long value", metadata={"k": "v" * 65537}),
        create("a person with a long name", created_by="p" * 256),
        create("an unknown experiment", experiment_id="999999"),
        get("it", f"{ISSUES}/iss-a"),
        update("another status", status="rejected"),
        update("other texts", name="n2", description=""),
        update("an empty name", name=""),
        update("a long name", name="n" * 251),
        update("other categories", categories=["x", "X ", "y"]),
        update("nothing"),
        update("seen later", last_seen_timestamp=9, last_updated_by="ann"),
        update("seen earlier", last_seen_timestamp=2),
        update("seen at a negative time", last_seen_timestamp=-2),
        update("metadata", metadata={"k": "w", "m": "x"}),
        update("without a key", delete_metadata_keys=["l", "none"]),
        update("a key twice", metadata={"k": "w"}, delete_metadata_keys=["k"]),
        update("too much metadata", metadata=dict.fromkeys(MANY[:99], "v")),
        update("an empty key", delete_metadata_keys=[""]),
        update("no categories", categories=[]),
        update("a person with a long name again", last_updated_by="p" * 256),
        update("a wrong severity", severity="huge"),
        patch("an unknown issue", f"{ISSUES}/iss-nope", {"issue_id": "iss-nope", "name": "x"}),
        get("after the changes", f"{ISSUES}/iss-a"),
        get("the minimal one", f"{ISSUES}/iss-b"),
        post("delete the experiment", "experiments/delete", {"experiment_id": "$exp"}),
        create("in a deleted experiment", "iss-z"),
    ),
)  # fmt: skip

SEARCH = Dialogue(
    "issues of 3.18: search",
    (
        experiment(),
        search("none"),
        create("Low", "iss-1", severity="low", categories=["Tone", "b"]),
        create("100%_low", "iss-2", severity="low", status="rejected", categories=["tone "]),
        create("high", "iss-3", severity="high", status="resolved", metadata={"k": "v"}, root_causes=["r"]),
        create("unset", "iss-4", last_seen_timestamp=1),
        create("medium", "iss-5", severity="medium"),
        search("all"),
        search("a name", name="LOW"),
        search("a name with a percent sign", name="0%"),
        search("a name with an underscore", name="_l"),
        search("a backslash", name="\\"),
        search("an empty name", name=""),
        search("a long name", name="n" * 251),
        search("statuses", statuses=["pending", "resolved", "pending"]),
        search("an unknown status", statuses=["open"]),
        search("severities", severities=["low", "high"]),
        search("an unknown severity", severities=["huge"]),
        search("many statuses", statuses=["pending"] * 101),
        search("a category", categories=[" TONE"]),
        search("categories", categories=["b", "none"]),
        search("an empty category", categories=[""]),
        search("several criteria", name="low", statuses=["rejected"], categories=["tone"]),
        search("with a filter", filter_string="status = 'pending'", severities=["low"]),
        search("a total", include_total_count=True),
        search("a total of none", include_total_count=True, name="none"),
        search("a total and a page", include_total_count=True, max_results=2, keep="total"),
        search("the page after it", include_total_count=True, max_results=2, page_token="$total"),
        search("the basic view", view="basic"),
        search("the full view", view="full", include_trace_count=True),
        search("another view", view="other"),
        search("by name", order_by=["name"]),
        search("by severity and name", order_by=["severity DESC", "name ASC"]),
        search("by status", order_by=["status desc"]),
        search("by times", order_by=["last_seen_timestamp", "created_timestamp DESC", "last_updated_timestamp"]),
        search("by something else", order_by=["bogus"]),
        search("in another direction", order_by=["name UP"]),
        search("by three words", order_by=["name ASC x"]),
        search("by nothing", order_by=[""]),
        search("page 1", order_by=["severity", "name DESC"], max_results=2, keep="one"),
        search("page 2", order_by=["severity", "name DESC"], max_results=2, page_token="$one", keep="two"),
        search("page 3", order_by=["severity", "name DESC"], max_results=2, page_token="$two"),
        search("a token of another search", order_by=["name"], page_token="$one"),
        search("a token of an order without one", page_token="$one"),
        search("page 1 by status", order_by=["status"], max_results=3, include_total_count=True, keep="status"),
        search("page 2 by status", order_by=["status"], max_results=3, include_total_count=True,
               page_token="$status"),
        search("a plain page", max_results=2, keep="plain"),
        search("the next plain page", max_results=2, page_token="$plain"),
        search("a plain token for another search", statuses=["pending"], page_token="$plain"),
        search("no token", page_token="x"),
        search("a page of a filtered search", statuses=["pending"], max_results=1, keep="filtered"),
        search("the next page of it", statuses=["pending"], max_results=1, page_token="$filtered"),
    ),
)  # fmt: skip

DIALOGUES = (CREATION, SEARCH)
