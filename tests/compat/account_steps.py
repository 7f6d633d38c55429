"""Requests to the routes of users, roles and grants, in order: valid and invalid, by five callers.

`$name` stands for an id that an earlier step kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

V2: Final = "/api/2.0/mlflow"
V3: Final = "/api/3.0/mlflow"
PASSWORD: Final = "a-long-password"
JSON: Final = "application/json"


@dataclass(frozen=True)
class Step:
    """One request. `keep` is a name for the id at `at` in the answer."""

    who: str
    method: str
    path: str
    payload: Any = None
    query: tuple[tuple[str, str], ...] = ()
    content_type: str | None = JSON
    keep: str = ""
    at: str = ""

    def __str__(self) -> str:
        shown = self.payload if self.payload is not None else dict(self.query)
        return f"{self.who}: {self.method} {self.path} {shown}"

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


def get(who: str, path: str, **query: str) -> Step:
    """A GET."""
    return Step(who, "GET", path, query=tuple(query.items()))


def post(who: str, path: str, /, **payload: Any) -> Step:
    """A POST with JSON."""
    return Step(who, "POST", path, payload)


def patch(who: str, path: str, /, **payload: Any) -> Step:
    """A PATCH with JSON."""
    return Step(who, "PATCH", path, payload)


def delete(who: str, path: str, /, **payload: Any) -> Step:
    """A DELETE with JSON."""
    return Step(who, "DELETE", path, payload)


def kept(step: Step, keep: str, at: str) -> Step:
    """The step, whose answer has an id that later steps use."""
    return Step(step.who, step.method, step.path, step.payload, step.query, JSON, keep, at)


def new_role(who: str, name: str, workspace: str = "default") -> Step:
    """A role whose id is kept under its name."""
    made = post(who, f"{V3}/roles/create", name=name, workspace=workspace)
    return kept(made, name, "role.id")


def new_permission(role: str, resource_type: str, pattern: str, permission: str) -> Step:
    """A permission whose id is kept as `ROLE.TYPE`."""
    made = post(
        "admin",
        f"{V3}/roles/permissions/add",
        role_id=f"${role}",
        resource_type=resource_type,
        resource_pattern=pattern,
        permission=permission,
    )
    return kept(made, f"{role}.{resource_type}", "role_permission.id")


def grant(who: str, username: Any, resource_type: Any, id_: Any, permission: Any) -> Step:
    """A grant."""
    return post(
        who,
        f"{V3}/users/permissions/grant",
        username=username,
        resource_type=resource_type,
        resource_id=id_,
        permission=permission,
    )


def revoke(who: str, username: Any, resource_type: Any, id_: Any) -> Step:
    """The removal of a grant."""
    return post(
        who,
        f"{V3}/users/permissions/revoke",
        username=username,
        resource_type=resource_type,
        resource_id=id_,
    )


def level(who: str, username: str, resource_type: str, id_: str) -> Step:
    """The effective permission."""
    return get(
        who,
        f"{V3}/users/permissions/get",
        username=username,
        resource_type=resource_type,
        resource_id=id_,
    )


CALLERS: Final = ("admin", "ann", "bob", "wanda", "nobody")
USERS: Final = (
    *(post("admin", f"{V2}/users/create", username=n, password=PASSWORD) for n in CALLERS[1:]),
    post("ann", f"{V2}/users/create", username="x", password=PASSWORD),
    post("admin", f"{V2}/users/create", username="ann", password=PASSWORD),
    post("admin", f"{V2}/users/create", username="Ann", password=PASSWORD),
    post("admin", f"{V2}/users/create", username="näme: ü", password=PASSWORD),
    post("admin", f"{V2}/users/create", username="short", password="12345678901"),
    post("admin", f"{V2}/users/create", username="", password=PASSWORD),
    post("admin", f"{V2}/users/create", username="x", password=""),
    post("admin", f"{V2}/users/create", username=None, password=PASSWORD),
    post("admin", f"{V2}/users/create", username="x", password=None),
    post("admin", f"{V2}/users/create", username="x"),
    post("admin", f"{V2}/users/create", password=PASSWORD),
    post("admin", f"{V2}/users/create", username="x", password=5),
    post("admin", f"{V2}/users/create", username="x", password=["a"] * 12),
    post("admin", f"{V2}/users/create", username="extra", password=PASSWORD, is_admin=True, id=1),
    Step("admin", "POST", f"{V2}/users/create", "username=x&password=y", content_type=None),
    Step("admin", "POST", f"{V2}/users/create", "not json"),
    Step("admin", "POST", f"{V2}/users/create", "[]"),
    Step("admin", "POST", f"{V2}/users/create", "null"),
    Step("nobody", "POST", f"{V2}/users/create", "not json"),
    get("admin", f"{V2}/users/get", username="ann"),
    get("ann", f"{V2}/users/get", username="ann"),
    get("ann", f"{V2}/users/get", username="bob"),
    get("ann", f"{V2}/users/get", username="ghost"),
    get("ann", f"{V2}/users/get"),
    get("admin", f"{V2}/users/get", username="ghost"),
    get("admin", f"{V2}/users/get", username="ANN"),
    get("admin", f"{V2}/users/get", username=""),
    get("admin", f"{V2}/users/get"),
    Step("admin", "GET", f"{V2}/users/get", query=(("username", "ann"), ("username", "bob"))),
    Step("bob", "GET", f"{V2}/users/get", query=(("username", "ann"), ("username", "bob"))),
    *(get(who, f"{V2}/users/current") for who in CALLERS),
    get("nobody", "/ajax-api/2.0/mlflow/users/current"),
    get("nobody", f"{V3}/users/current/permissions"),
    get("nobody", f"{V3}/users/current"),
    get("admin", f"{V3}/users/current"),
    post("admin", f"{V2}/users/current"),
    get("admin", f"{V2}/users/create"),
)
PASSWORDS: Final = (
    patch("ann", f"{V2}/users/update-password", username="ann", password="another-password"),
    patch(
        "ann",
        f"{V2}/users/update-password",
        username="ann",
        password="another-password",
        current_password="wrong-password",
    ),
    patch(
        "ann",
        f"{V2}/users/update-password",
        username="ann",
        password=PASSWORD,
        current_password=PASSWORD,
    ),
    patch(
        "ann",
        f"{V2}/users/update-password",
        username="ann",
        password="short",
        current_password=PASSWORD,
    ),
    patch("ann", f"{V2}/users/update-password", username="bob", password="another-password"),
    patch("ann", f"{V2}/users/update-password", password="another-password"),
    patch("ann", f"{V2}/users/update-password", username="ann"),
    patch("admin", f"{V2}/users/update-password", username="admin", password="another-password"),
    patch("admin", f"{V2}/users/update-password", username="ghost", password="another-password"),
    patch("admin", f"{V2}/users/update-password", username="ghost", password="short"),
    patch("admin", f"{V2}/users/update-password", username="bob", password="short"),
    patch("admin", f"{V2}/users/update-password", username="bob", password=None),
    patch("admin", f"{V2}/users/update-password", username="bob", password=5),
    patch("admin", f"{V2}/users/update-password", username="bob", password=PASSWORD),
    patch("ann", f"{V2}/users/update-admin", username="ann", is_admin=True),
    patch("admin", f"{V2}/users/update-admin", username="bob", is_admin=True),
    get("bob", f"{V2}/users/current"),
    get("bob", f"{V2}/users/get", username="ann"),
    patch("admin", f"{V2}/users/update-admin", username="bob", is_admin=None),
    get("bob", f"{V2}/users/current"),
    patch("admin", f"{V2}/users/update-admin", username="bob", is_admin=False),
    patch("admin", f"{V2}/users/update-admin", username="bob", is_admin="true"),
    patch("admin", f"{V2}/users/update-admin", username="bob"),
    patch("admin", f"{V2}/users/update-admin", username="ghost", is_admin=True),
    patch("admin", f"{V2}/users/update-admin", is_admin=True),
    get("bob", f"{V2}/users/current"),
)
ROLES: Final = (
    new_role("admin", "team"),
    new_role("admin", "wardens"),
    new_role("admin", "elsewhere", "other"),
    post("admin", f"{V3}/roles/create", name="described", workspace="default", description="d"),
    post("admin", f"{V3}/roles/create", name="team", workspace="default"),
    post("admin", f"{V3}/roles/create", name="team", workspace="default", description=5),
    post("admin", f"{V3}/roles/create", name=" ", workspace="default"),
    post("admin", f"{V3}/roles/create", name=5, workspace="default"),
    post("admin", f"{V3}/roles/create", name="t", workspace=""),
    post("admin", f"{V3}/roles/create", name="t", workspace=None),
    post("admin", f"{V3}/roles/create", name="t"),
    post("admin", f"{V3}/roles/create", workspace="default"),
    post("admin", f"{V3}/roles/create", name="__user_1__", workspace="default"),
    post("admin", f"{V3}/roles/create", name="__user_", workspace="default"),
    post("ann", f"{V3}/roles/create", name="t", workspace="default"),
    post("ann", f"{V3}/roles/create", name="t"),
    post("ann", f"{V3}/roles/create", name="t", workspace=" "),
    new_permission("wardens", "workspace", "*", "MANAGE"),
    new_permission("team", "experiment", "*", "READ"),
    new_permission("team", "run", "*", "EDIT"),
    *(
        post(
            "admin",
            f"{V3}/roles/permissions/add",
            role_id=role,
            resource_type=kind,
            resource_pattern=pattern,
            permission=permission,
        )
        for role, kind, pattern, permission in (
            ("$team", "experiment", "*", "EDIT"),
            ("$team", "experiment", "*", "OWN"),
            ("$team", "experiment", "*", "NO_PERMISSIONS"),
            ("$team", "thing", "*", "READ"),
            ("$team", "thing", "*", "OWN"),
            ("$team", "run", "x", "READ"),
            ("$team", "workspace", "*", "READ"),
            ("$team", "workspace", "default", "USE"),
            ("$team", "scorer", "no-slash", "READ"),
            ("$team", "prompt", "p", "DENY"),
            (999, "run", "*", "READ"),
            (999, "run", "x", "READ"),
            ("x", "run", "*", "READ"),
            (None, "run", "*", "READ"),
            (1.9, "trace", "*", "READ"),
            (" 1 ", "assessment", "*", "READ"),
            (True, "logged_model", "*", "READ"),
        )
    ),
    post("admin", f"{V3}/roles/permissions/add", role_id="$team", resource_type="run"),
    post("admin", f"{V3}/roles/permissions/add", role_id="$team"),
    post("admin", f"{V3}/roles/permissions/add"),
    post("ann", f"{V3}/roles/permissions/add"),
    post("admin", f"{V3}/roles/assign", username="ann", role_id="$team"),
    post("admin", f"{V3}/roles/assign", username="ann", role_id="$team"),
    post("admin", f"{V3}/roles/assign", username="wanda", role_id="$wardens"),
    post("admin", f"{V3}/roles/assign", username="bob", role_id="$elsewhere"),
    post("admin", f"{V3}/roles/assign", username="ghost", role_id="$team"),
    post("admin", f"{V3}/roles/assign", username="ann", role_id=999),
    post("admin", f"{V3}/roles/assign", username="ann", role_id="x"),
    post("admin", f"{V3}/roles/assign", username="ann"),
    post("admin", f"{V3}/roles/assign", role_id="$team"),
    post("nobody", f"{V3}/roles/assign", username="nobody", role_id="$team"),
    post("nobody", f"{V3}/roles/assign", username="nobody", role_id=999),
    post("nobody", f"{V3}/roles/assign", username="nobody", role_id="x"),
    *(get(who, f"{V3}/roles/get", role_id="$team") for who in CALLERS),
    *(get(who, f"{V3}/roles/get", role_id="$elsewhere") for who in CALLERS),
    *(get(who, f"{V3}/roles/get", role_id="999") for who in ("admin", "ann", "nobody")),
    *(get(who, f"{V3}/roles/get", role_id="x") for who in ("admin", "ann")),
    *(get(who, f"{V3}/roles/get") for who in ("admin", "ann")),
    *(get(who, f"{V3}/roles/list", workspace="default") for who in CALLERS),
    *(get(who, f"{V3}/roles/list") for who in CALLERS),
    *(
        Step(
            who, "GET", f"{V3}/roles/list", query=(("workspace", "default"), ("workspace", "other"))
        )
        for who in CALLERS
    ),
    get("admin", f"{V3}/roles/list", workspace=" "),
    get("ann", f"{V3}/roles/list", workspace=" "),
    get("ann", f"{V3}/roles/list", workspace=" default"),
    get("admin", f"{V3}/roles/list", workspace="ghost"),
    *(get(who, f"{V3}/roles/permissions/list", role_id="$team") for who in CALLERS),
    get("admin", f"{V3}/roles/permissions/list", role_id="999"),
    *(get(who, f"{V3}/roles/users/list", role_id="$team") for who in CALLERS),
    get("admin", f"{V3}/roles/users/list", role_id="999"),
    *(get(who, f"{V3}/users/roles/list", username="ann") for who in CALLERS),
    *(get(who, f"{V3}/users/roles/list", username="bob") for who in CALLERS),
    *(get(who, f"{V3}/users/roles/list", username="ghost") for who in ("admin", "wanda", "ann")),
    get("wanda", f"{V3}/users/roles/list"),
    *(get(who, f"{V3}/users/permissions/list", username="ann") for who in CALLERS),
    *(get(who, f"{V3}/users/current/permissions") for who in CALLERS),
    *(get(who, f"{V2}/users/list") for who in CALLERS),
)
GRANTS: Final = (
    kept(post("admin", f"{V2}/experiments/create", name="e"), "e", "experiment_id"),
    kept(post("ann", f"{V2}/experiments/create", name="anns"), "anns", "experiment_id"),
    post("admin", f"{V2}/registered-models/create", name="m"),
    grant("ann", "bob", "experiment", "$anns", "READ"),
    grant("ann", "bob", "experiment", "$anns", "EDIT"),
    grant("ann", "bob", "experiment", "$e", "READ"),
    grant("ann", "bob", "experiment", "*", "READ"),
    grant("wanda", "bob", "experiment", "*", "USE"),
    grant("wanda", "bob", "run", "*", "READ"),
    grant("wanda", "bob", "run", "x", "READ"),
    grant("wanda", "bob", "prompt", "p", "READ"),
    grant("wanda", "bob", "registered_model", "unknown", "EDIT"),
    grant("wanda", "bob", "workspace", "*", "USE"),
    grant("wanda", "bob", "scorer", "x", "READ"),
    grant("wanda", "bob", "scorer", "1/x", "READ"),
    grant("ann", "bob", "thing", "*", "READ"),
    grant("ann", "bob", "thing", "1", "READ"),
    grant("ann", "bob", "prompt", "p", "READ"),
    grant("ann", "bob", "workspace", "*", "USE"),
    grant("ann", "ghost", "experiment", "$anns", "READ"),
    grant("ann", "bob", "experiment", "$anns", "OWN"),
    grant("ann", "bob", "experiment", 5, "READ"),
    grant("admin", "bob", "prompt", "p", "DENY"),
    grant("admin", "bob", "workspace", "*", "USE"),
    grant("admin", "bob", "thing", "1", "OWN"),
    grant("admin", "bob", "experiment", "1", "OWN"),
    grant("admin", "bob", "run", "x", "OWN"),
    grant("admin", "ghost", "thing", "1", "OWN"),
    grant("admin", "nobody", "gateway_secret", "s", "NO_PERMISSIONS"),
    grant("admin", "nobody", "mcp_server", "s", "USE"),
    grant("admin", "nobody", "review_queue", "*", "DENY"),
    post(
        "admin",
        f"{V3}/users/permissions/grant",
        username="bob",
        resource_type="run",
        resource_id="*",
    ),
    post("admin", f"{V3}/users/permissions/grant", username="bob", resource_type="run"),
    post("ann", f"{V3}/users/permissions/grant", username="bob"),
    post("ann", f"{V3}/users/permissions/grant", username="bob", resource_type="run"),
    *(level(who, "bob", "experiment", "$anns") for who in CALLERS),
    *(level(who, "bob", "experiment", "*") for who in CALLERS),
    *(level(who, "bob", "registered_model", "m") for who in CALLERS),
    *(level(who, "bob", "registered_model", "ghost") for who in CALLERS),
    *(level(who, "bob", "experiment", "999") for who in CALLERS),
    *(level(who, "bob", "prompt", "p") for who in CALLERS),
    *(level(who, "bob", "run", "x") for who in CALLERS),
    *(level(who, "bob", "run", "*") for who in CALLERS),
    *(level(who, "bob", "workspace", "*") for who in CALLERS),
    *(level(who, "bob", "thing", "1") for who in CALLERS),
    *(level(who, "bob", "scorer", "x") for who in CALLERS),
    *(level(who, "bob", "scorer", "1/x") for who in CALLERS),
    *(level(who, "bob", "gateway_endpoint", "x") for who in CALLERS),
    *(level(who, "ghost", "run", "*") for who in CALLERS),
    *(level("admin", who, "experiment", "$e") for who in CALLERS),
    *(level("admin", who, "review_queue", "*") for who in CALLERS),
    level("admin", "ghost", "thing", "1"),
    get("bob", f"{V3}/users/permissions/get"),
    get("bob", f"{V3}/users/permissions/get", username="bob"),
    get("bob", f"{V3}/users/permissions/get", resource_type="run"),
    get("bob", f"{V3}/users/permissions/get", username="bob", resource_type="run"),
    get("admin", f"{V3}/users/permissions/get", username="bob", resource_type="run"),
    *(get(who, f"{V3}/users/permissions/list", username="bob") for who in CALLERS),
    *(get(who, f"{V2}/users/list") for who in CALLERS),
    revoke("bob", "bob", "experiment", "$anns"),
    revoke("ann", "bob", "experiment", "$anns"),
    revoke("ann", "bob", "experiment", "$anns"),
    revoke("admin", "bob", "prompt", "p"),
    revoke("admin", "bob", "run", "x"),
    revoke("admin", "bob", "thing", "x"),
    revoke("admin", "bob", "workspace", "*"),
    revoke("admin", "ghost", "run", "*"),
    revoke("admin", "extra", "run", "*"),
    revoke("wanda", "bob", "run", "*"),
    post("admin", f"{V3}/users/permissions/revoke", username="bob"),
)
CHANGES: Final = (
    patch("admin", f"{V3}/roles/update", role_id="$team", name="crew"),
    patch("admin", f"{V3}/roles/update", role_id="$team", name="crew", description="e"),
    patch("admin", f"{V3}/roles/update", role_id="$team", description=""),
    patch("admin", f"{V3}/roles/update", role_id="$team", name="wardens"),
    patch("admin", f"{V3}/roles/update", role_id="$team", name="__user_9__"),
    patch("admin", f"{V3}/roles/update", role_id="$team", name=""),
    patch("admin", f"{V3}/roles/update", role_id="$team", description=5),
    patch("admin", f"{V3}/roles/update", role_id="$team"),
    patch("admin", f"{V3}/roles/update", role_id=999, name="x"),
    patch("admin", f"{V3}/roles/update", role_id=999),
    patch("admin", f"{V3}/roles/update", name="x"),
    patch("ann", f"{V3}/roles/update", role_id="$team", name="x"),
    patch("wanda", f"{V3}/roles/update", role_id="$team", name="by wanda"),
    patch("wanda", f"{V3}/roles/update", role_id="$elsewhere", name="by wanda"),
    patch(
        "admin", f"{V3}/roles/permissions/update", role_permission_id="$team.run", permission="DENY"
    ),
    patch(
        "admin", f"{V3}/roles/permissions/update", role_permission_id="$team.run", permission="OWN"
    ),
    patch(
        "admin",
        f"{V3}/roles/permissions/update",
        role_permission_id="$wardens.workspace",
        permission="READ",
    ),
    patch("admin", f"{V3}/roles/permissions/update", role_permission_id="$team.run"),
    patch("admin", f"{V3}/roles/permissions/update", role_permission_id=999, permission="OWN"),
    patch("admin", f"{V3}/roles/permissions/update", role_permission_id="x", permission="READ"),
    patch("admin", f"{V3}/roles/permissions/update", permission="READ"),
    patch(
        "ann", f"{V3}/roles/permissions/update", role_permission_id="$team.run", permission="MANAGE"
    ),
    patch("ann", f"{V3}/roles/permissions/update", role_permission_id=999, permission="READ"),
    patch(
        "wanda", f"{V3}/roles/permissions/update", role_permission_id="$team.run", permission="USE"
    ),
    delete("ann", f"{V3}/roles/permissions/remove", role_permission_id="$team.run"),
    delete("wanda", f"{V3}/roles/permissions/remove", role_permission_id="$team.run"),
    delete("admin", f"{V3}/roles/permissions/remove", role_permission_id="$team.run"),
    delete("admin", f"{V3}/roles/permissions/remove"),
    Step(
        "admin",
        "DELETE",
        f"{V3}/roles/permissions/remove",
        content_type=None,
        query=(("role_permission_id", "$team.experiment"),),
    ),
    delete("nobody", f"{V3}/roles/unassign", username="ann", role_id="$team"),
    delete("wanda", f"{V3}/roles/unassign", username="ann", role_id="$team"),
    delete("admin", f"{V3}/roles/unassign", username="ann", role_id="$team"),
    delete("admin", f"{V3}/roles/unassign", username="ghost", role_id="$team"),
    delete("admin", f"{V3}/roles/unassign", username="ann", role_id=999),
    delete("admin", f"{V3}/roles/unassign", username="ann"),
    delete("wanda", f"{V3}/roles/delete", role_id="$elsewhere"),
    delete("wanda", f"{V3}/roles/delete", role_id="$team"),
    delete("admin", f"{V3}/roles/delete", role_id="$team"),
    delete("admin", f"{V3}/roles/delete", role_id="$elsewhere"),
    delete("admin", f"{V3}/roles/delete"),
    delete("ann", f"{V2}/users/delete", username="bob"),
    delete("wanda", f"{V2}/users/delete", username="bob"),
    delete("admin", f"{V2}/users/delete", username="admin"),
    delete("admin", f"{V2}/users/delete", username="ghost"),
    delete("admin", f"{V2}/users/delete"),
    delete("admin", f"{V2}/users/delete", username="bob"),
    delete("admin", f"{V2}/users/delete", username="bob"),
    Step("admin", "DELETE", f"{V2}/users/delete", content_type=None, query=(("username", "ann"),)),
    get("ann", f"{V2}/users/current"),
    get("admin", f"{V2}/users/list"),
    get("admin", f"{V3}/roles/list"),
)
# Routes that clients up to 3.12 call. They are gone.
GONE: Final = tuple(
    Step(who, method, path, {} if method != "GET" else None)
    for who in ("admin", "nobody")
    for kind, version in (("experiments", V2), ("registered-models", V2), ("scorers", V3))
    for method, path in (
        ("POST", f"{version}/{kind}/permissions/create"),
        ("GET", f"{version}/{kind}/permissions/get"),
        ("PATCH", f"{version}/{kind}/permissions/update"),
        ("DELETE", f"{version}/{kind}/permissions/delete"),
    )
)
STEPS: Final = (*USERS, *PASSWORDS, *ROLES, *GRANTS, *CHANGES, *GONE)
