"""The AI gateway's budgets and guardrails."""

from __future__ import annotations

import json
from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, experiment, get, patch, post
from tests.compat.dialogues.gateway_endpoints import (
    ENDPOINTS,
    GATEWAY,
    create,
    definitions,
    model,
)

BUDGETS = f"{GATEWAY}/budgets"
GUARDRAILS = f"{GATEWAY}/guardrails"
BUDGET = {
    "budget_unit": "USD",
    "budget_amount": 10.5,
    "duration": {"unit": "DAYS", "value": 1},
    "target_scope": "GLOBAL",
    "budget_action": "ALERT",
}


def budget(label: str, *, keep: str = "", **fields: Any) -> Ask:
    """Create a budget."""
    kept = {keep: "budget_policy.budget_policy_id"} if keep else {}
    return post(label, f"{BUDGETS}/create", BUDGET | fields, keep=kept)


def change(label: str, **fields: Any) -> Ask:
    """Change `$budget`."""
    return post(label, f"{BUDGETS}/update", {"budget_policy_id": "$budget"} | fields)


LIMITS = Dialogue(
    "gateway budgets",
    (
        *definitions("budgets"),
        create("spending", model(), keep="endpoint"),
        get("none", f"{BUDGETS}/list"),
        budget("a budget", keep="budget"),
        get("the only one", f"{BUDGETS}/list"),
        budget("all fields", created_by="bob", target_scope="WORKSPACE", budget_action="REJECT"),
        budget("by numbers", budget_unit=1, duration={"unit": 5, "value": "2"}, target_scope=1, budget_action=2),
        budget("of an endpoint", target_scope="ENDPOINT", target_value="$endpoint"),
        budget("of no endpoint", target_scope="ENDPOINT"),
        budget("of an unknown endpoint", target_scope="ENDPOINT", target_value="e-nope"),
        budget("of a user", target_scope="USER", target_value="ann"),
        budget("of no user", target_scope="USER"),
        budget("a target for all", target_value="x"),
        budget("an empty target", target_value=""),
        budget("a negative amount", budget_amount=-1),
        budget("an amount as text", budget_amount="3"),
        budget("no amount", budget_amount=None),
        budget("no unit", budget_unit=None),
        budget("the unspecified unit", budget_unit="BUDGET_UNIT_UNSPECIFIED"),
        budget("an unknown unit", budget_unit="EUR"),
        budget("no duration", duration=None),
        budget("an empty duration", duration={}),
        budget("a duration without a value", duration={"unit": "DAYS"}),
        budget("a duration of zero", duration={"unit": "DAYS", "value": 0}),
        budget("the unspecified duration", duration={"unit": "DURATION_UNIT_UNSPECIFIED", "value": 1}),
        budget("no scope", target_scope=None),
        budget("the unspecified scope", target_scope=0),
        budget("no action", budget_action=None),
        budget("the unspecified action", budget_action="BUDGET_ACTION_UNSPECIFIED"),
        get("it", f"{BUDGETS}/get", {"budget_policy_id": "$budget"}),
        get("an unknown one", f"{BUDGETS}/get", {"budget_policy_id": "bp-nope"}),
        get("no id", f"{BUDGETS}/get"),
        change("nothing"),
        change("amount", budget_amount=3, updated_by="bob"),
        change("duration", duration={"unit": "HOURS", "value": 4}),
        change("a wrong duration", duration={"unit": "HOURS"}),
        change("action", budget_action="REJECT"),
        change("to the unspecified action", budget_action="BUDGET_ACTION_UNSPECIFIED"),
        change("the scope without a target", target_scope="ENDPOINT"),
        change("the scope and its target", target_scope="ENDPOINT", target_value="$endpoint"),
        change("the same scope", target_scope="ENDPOINT"),
        change("an unknown target", target_value="e-nope"),
        change("no target", target_value=""),
        change("a user", target_scope="USER", target_value="ann"),
        change("the scope of all", target_scope="GLOBAL"),
        change("to a target for all", target_value="x"),
        post("an unknown budget", f"{BUDGETS}/update", {"budget_policy_id": "bp-nope", "target_value": "x"}),
        post("no budget", f"{BUDGETS}/update", {"budget_amount": 1}),
        get("page 1", f"{BUDGETS}/list", {"max_results": 50000}, unordered=("budget_policies",)),
        get("the default size", f"{BUDGETS}/list", {"max_results": 0}, unordered=("budget_policies",)),
        get("a negative size", f"{BUDGETS}/list", {"max_results": -1}),
        get("too many", f"{BUDGETS}/list", {"max_results": 50001}),
        get("a wrong size", f"{BUDGETS}/list", {"max_results": "x"}),
        get("a wrong token", f"{BUDGETS}/list", {"page_token": "zz"}),
        get("beyond the end", f"{BUDGETS}/list", {"page_token": "eyJvZmZzZXQiOiA5OX0="}),
        delete("delete the endpoint", f"{ENDPOINTS}/delete", {"endpoint_id": "$endpoint"}),
        delete("delete it", f"{BUDGETS}/delete", {"budget_policy_id": "$budget"}),
        delete("delete it again", f"{BUDGETS}/delete", {"budget_policy_id": "$budget"}),
        delete("delete nothing", f"{BUDGETS}/delete", {}),
    ),
)  # fmt: skip


def guardrail(label: str, *, keep: str = "", **fields: Any) -> Ask:
    """Create a guardrail that runs `$scorer`."""
    body = {
        "name": label,
        "scorer_id": "$scorer",
        "scorer_version": 1,
        "stage": "BEFORE",
        "action": "VALIDATION",
    }
    kept = {keep: "guardrail.guardrail_id"} if keep else {}
    return post(label, f"{GUARDRAILS}/create", body | fields, keep=kept)


def scorer(label: str, keep: str, **content: Any) -> Ask:
    """Register a scorer."""
    serialized = {"name": label, "aggregations": [], "builtin_scorer_class": "Safety"} | content
    body = {"experiment_id": "$exp", "name": label, "serialized_scorer": json.dumps(serialized)}
    return post(label, "/api/3.0/mlflow/scorers/register", body, keep={keep: "scorer_id"})


def used(label: str, action: Any, path: str, **fields: Any) -> Ask:
    """A request on the use of `$guardrail` by `$endpoint`."""
    body = {"endpoint_id": "$endpoint", "guardrail_id": "$guardrail"} | fields
    made: Ask = action(label, f"{GUARDRAILS}/{path}", body | fields)
    return made


def listed(label: str, endpoint: str = "$endpoint") -> Ask:
    """The guardrails of an endpoint."""
    return get(label, f"{GUARDRAILS}/list-for-endpoint", {"endpoint_id": endpoint})


CHECKS = Dialogue(
    "gateway guardrails",
    (
        *definitions("guardrails"),
        experiment(name="of guardrails"),
        scorer("safe", "scorer"),
        create("guarded", model(), keep="endpoint"),
        create("helper", model(), keep="helper"),
        get("none", f"{GUARDRAILS}/list"),
        guardrail("a guardrail", keep="guardrail"),
        get("the only one", f"{GUARDRAILS}/list"),
        guardrail("with a model", stage="AFTER", action="SANITIZATION", action_endpoint_id="$helper", keep="second"),
        guardrail("by numbers", stage=2, action=1, scorer_version="1", keep="third"),
        guardrail("an unknown scorer", scorer_id="nope"),
        guardrail("an unknown version", scorer_version=2),
        guardrail("a huge version", scorer_version=2**40),
        guardrail("no version", scorer_version=None),
        guardrail("no scorer", scorer_id=""),
        guardrail("no name", name=""),
        guardrail("no stage", stage=None),
        guardrail("the unspecified stage", stage="GUARDRAIL_STAGE_UNSPECIFIED"),
        guardrail("an unknown stage", stage="DURING"),
        guardrail("the unspecified action", action=0),
        guardrail("an unknown endpoint", action_endpoint_id="e-nope"),
        get("it", f"{GUARDRAILS}/get", {"guardrail_id": "$guardrail"}),
        get("an unknown one", f"{GUARDRAILS}/get", {"guardrail_id": "gr-nope"}),
        get("no id", f"{GUARDRAILS}/get"),
        get("all", f"{GUARDRAILS}/list", unordered=("guardrails",)),
        get("a negative size", f"{GUARDRAILS}/list", {"max_results": -1}),
        used("use it", post, "add-to-endpoint"),
        used("use it again", post, "add-to-endpoint"),
        used("use the second", post, "add-to-endpoint", guardrail_id="$second", execution_order=2),
        used("use the third", post, "add-to-endpoint", guardrail_id="$third", execution_order="1"),
        used("use an unknown one", post, "add-to-endpoint", guardrail_id="gr-nope"),
        used("use it elsewhere", post, "add-to-endpoint", endpoint_id="e-nope"),
        used("use none", post, "add-to-endpoint", guardrail_id=None),
        listed("in order"),
        listed("of an unknown endpoint", "e-nope"),
        listed("of no endpoint", ""),
        used("an order", patch, "update-config", execution_order=0),
        used("an order of an unused one", patch, "update-config", guardrail_id="gr-nope", execution_order=0),
        listed("in the new order"),
        used("a wrong order", patch, "update-config", execution_order="x"),
        used("no order", patch, "update-config"),
        used("remove the third", delete, "remove-from-endpoint", guardrail_id="$third"),
        used("remove it again", delete, "remove-from-endpoint", guardrail_id="$third"),
        delete("delete the helper", f"{ENDPOINTS}/delete", {"endpoint_id": "$helper"}),
        listed("without the helper"),
        delete("delete the first", f"{GUARDRAILS}/delete", {"guardrail_id": "$guardrail"}),
        delete("delete it again", f"{GUARDRAILS}/delete", {"guardrail_id": "$guardrail"}),
        listed("without the first"),
        delete("delete the endpoint", f"{ENDPOINTS}/delete", {"endpoint_id": "$endpoint"}),
        get("what is left", f"{GUARDRAILS}/get", {"guardrail_id": "$second"}),
        delete("delete the second", f"{GUARDRAILS}/delete", {"guardrail_id": "$second"}),
        delete("delete the third", f"{GUARDRAILS}/delete", {"guardrail_id": "$third"}),
    ),
)  # fmt: skip

DIALOGUES = (LIMITS, CHECKS)
