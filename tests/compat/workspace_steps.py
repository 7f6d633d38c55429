"""Requests of users of a server with workspaces, in order: by an admin, members of one workspace, and a stranger.

A `$name` stands for an id that an earlier step kept. `RIGHTS` are the grants that the admin makes first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

V2: Final = "/api/2.0/mlflow"
V3: Final = "/api/3.0/mlflow"
ARTIFACTS: Final = "/api/2.0/mlflow-artifacts"
ADMIN: Final = "admin"
WORKSPACES: Final = ("team-a", "team-b")
MEMBER, BOSS, READER, STRANGER, VETOED = "member", "boss", "reader", "stranger", "vetoed"
USERS: Final = (MEMBER, BOSS, READER, STRANGER, VETOED)
# user, workspace of the role, resource type, pattern, permission; all roles have the user's name.
RIGHTS: Final = (
    (MEMBER, "team-a", "workspace", "*", "USE"),
    (BOSS, "team-a", "workspace", "*", "MANAGE"),
    (READER, "team-a", "experiment", "*", "READ"),
    (READER, "team-a", "registered_model", "*", "READ"),
    (VETOED, "team-b", "workspace", "*", "USE"),
    (VETOED, "team-b", "experiment", "*", "DENY"),
)


@dataclass(frozen=True)
class Step:
    """One request. `keep` is a name for the id at the path `at` in the answer."""

    who: str
    workspace: str | None
    method: str
    path: str
    payload: Any = None
    keep: str = ""
    at: str = ""
    body: bytes | None = None

    def __str__(self) -> str:
        return f"{self.who}@{self.workspace}: {self.method} {self.path} {self.payload or ''}"


def get(path: str, /, **query: Any) -> Step:
    """A GET, of nobody yet."""
    return Step("", None, "GET", f"{path}?{urlencode(query, doseq=True)}" if query else path)


def post(path: str, /, **payload: Any) -> Step:
    """A POST with JSON, of nobody yet."""
    return Step("", None, "POST", path, payload)


def by(step: Step, who: str, workspace: str | None, keep: str = "", at: str = "") -> Step:
    """The request of a user in a workspace."""
    return replace(step, who=who, workspace=workspace, keep=keep, at=at)


def experiment(name: str) -> Step:
    """A new experiment."""
    return post(f"{V2}/experiments/create", name=name)


def model(name: str) -> Step:
    """A new registered model."""
    return post(f"{V2}/registered-models/create", name=name)


def _prepared() -> list[Step]:
    steps = [
        by(post(f"{V2}/users/create", username=name, password="a-long-password"), ADMIN, None)
        for name in USERS
    ]
    for name, workspace in dict.fromkeys((right[0], right[1]) for right in RIGHTS):
        role = post(f"{V3}/roles/create", name=f"of {name}", workspace=workspace)
        steps.append(by(role, ADMIN, None, f"role-{name}", "role.id"))
        assigned = post(f"{V3}/roles/assign", username=name, role_id=f"$role-{name}")
        steps.append(by(assigned, ADMIN, None))
    for name, _, resource_type, pattern, permission in RIGHTS:
        fields = {"resource_type": resource_type, "resource_pattern": pattern}
        add = post(
            f"{V3}/roles/permissions/add",
            role_id=f"$role-{name}",
            permission=permission,
            **fields,
        )
        steps.append(by(add, ADMIN, None))
    for workspace in (None, *WORKSPACES):
        key = workspace or "default"
        steps.append(by(experiment("same"), ADMIN, workspace, f"e-{key}", "experiment_id"))
        run = post(f"{V2}/runs/create", experiment_id=f"$e-{key}", start_time=1, run_name="r")
        steps.append(by(run, ADMIN, workspace, f"r-{key}", "run.info.run_id"))
        steps.append(by(model("same"), ADMIN, workspace))
        secret = post(
            f"{V3}/gateway/secrets/create",
            secret_name=f"of {key}",
            secret_value={"api_key": "k"},
            provider="openai",
        )
        steps.append(by(secret, ADMIN, workspace, f"s-{key}", "secret.secret_id"))
        steps.append(
            replace(
                by(get(f"{ARTIFACTS}/artifacts/of/{key}.txt"), ADMIN, workspace),
                method="PUT",
                body=b"text",
            )
        )
    return steps


def _asked() -> list[Step]:
    """The requests that every user makes in every workspace. They change nothing that others see."""
    found = [
        get(f"{V2}/users/list"),
        get(f"{V2}/experiments/search", max_results=10),
        get(f"{V2}/experiments/get-by-name", experiment_name="same"),
        get(f"{V2}/experiments/get-by-name", experiment_name="unknown"),
        get(f"{V2}/registered-models/search"),
        get(f"{V2}/registered-models/get", name="same"),
        get(f"{V2}/registered-models/get", name="unknown"),
        get(f"{V2}/model-versions/search"),
        get(f"{V2}/webhooks"),
        get(f"{V3}/gateway/secrets/list"),
        get(f"{V3}/gateway/endpoints/list"),
        get(f"{V3}/users/current/permissions"),
        get(f"{ARTIFACTS}/artifacts"),
        get(f"{ARTIFACTS}/artifacts", path="of"),
        get(f"{ARTIFACTS}/artifacts", path="workspaces/team-a/of"),
        get(f"{ARTIFACTS}/artifacts", path="workspaces/team-b"),
        get(f"{ARTIFACTS}/artifacts", path="workspaces/"),
        get(f"{ARTIFACTS}/artifacts/of/team-a.txt"),
        get(f"{V2}/experiments/get", experiment_id="999999"),
        post(f"{V3}/gateway/endpoints/create", name="of-nothing", model_configs=[]),
    ]
    for key in ("default", *WORKSPACES):
        found += [
            get(f"{V2}/experiments/get", experiment_id=f"$e-{key}"),
            get(f"{V2}/runs/get", run_id=f"$r-{key}"),
            post(f"{V2}/runs/log-parameter", run_id=f"$r-{key}", key="p", value="v"),
            post(f"{V2}/experiments/set-experiment-tag", experiment_id=f"$e-{key}", key="t", value="v"),
            get(f"{V3}/gateway/secrets/get", secret_id=f"$s-{key}"),
            get(f"{ARTIFACTS}/artifacts", path=f"$e-{key}/x"),
            get(f"{V3}/users/permissions/get", username=MEMBER, resource_type="experiment",
                resource_id=f"$e-{key}"),
            get(f"{V3}/users/permissions/get", username=MEMBER, resource_type="experiment", resource_id="*"),
            get(f"{V3}/roles/list", workspace=key),
        ]  # fmt: skip
    ids = [f"$e-{key}" for key in ("default", *WORKSPACES)]
    found.append(post(f"{V2}/runs/search", experiment_ids=ids))
    return found


def _changes() -> list[Step]:
    """Requests that create, grant, rename and delete, by each user in each workspace."""
    steps = []
    for workspace in (None, *WORKSPACES):
        for who in (ADMIN, *USERS):
            own = f"own of {who}"
            steps += [
                by(experiment(own), who, workspace, f"own-{who}-{workspace}"),
                by(model(own), who, workspace),
                by(get(f"{V2}/registered-models/get", name=own), who, workspace),
                by(post(f"{V2}/registered-models/rename", name=own, new_name=f"{own}!"), who, workspace),
                by(get(f"{V2}/registered-models/get", name=f"{own}!"), who, workspace),
                by(get(f"{V2}/experiments/get-by-name", experiment_name=own), who, workspace),
                by(
                    post(
                        f"{V3}/gateway/secrets/create",
                        secret_name=own,
                        secret_value={"api_key": "k"},
                        provider="openai",
                    ),
                    who,
                    workspace,
                ),
                by(post(f"{V3}/users/permissions/grant", username=STRANGER, resource_type="experiment",
                        resource_id=f"$e-{workspace or 'default'}", permission="EDIT"), who, workspace),
                by(post(f"{V3}/users/permissions/grant", username=STRANGER, resource_type="run",
                        resource_id="*", permission="READ"), who, workspace),
                by(get(f"{V3}/users/permissions/list", username=STRANGER), who, workspace),
                by(get(f"{V2}/runs/get", run_id=f"$r-{workspace or 'default'}"), STRANGER, workspace),
                by(post(f"{V3}/users/permissions/revoke", username=STRANGER, resource_type="experiment",
                        resource_id=f"$e-{workspace or 'default'}"), who, workspace),
                by(post(f"{V3}/users/permissions/revoke", username=STRANGER, resource_type="run",
                        resource_id="*"), who, workspace),
            ]  # fmt: skip
    return steps


PREPARED: Final = _prepared()
ASKED: Final = [
    by(step, who, workspace)
    for step in _asked()
    for who in (ADMIN, *USERS)
    for workspace in (None, *WORKSPACES)
]
CHANGES: Final = _changes()
HEADERS: Final = [
    by(get(path), who, workspace)
    for workspace in ("nowhere", "A", "", " ", "team-a ", "workspaces", "default")
    for who in (ADMIN, MEMBER, "nobody")
    for path in (f"{V2}/experiments/get?experiment_id=0", f"{V3}/server-info")
]
