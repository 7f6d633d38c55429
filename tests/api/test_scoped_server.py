"""A real server with users who may read little: full pages of what they may, and what they create."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from tests.fill import fill
from tests.fix_server import headrace
from tests.wire import Wire

from headrace.auth import grants, users
from headrace.auth.guard import MAX_AMONG
from headrace.auth.open import open_accounts
from headrace.auth.passwords import hashed
from headrace.db.open import open_database
from headrace.settings.auth import AuthSettings
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_server import Server

ROWS = 10_000
READABLE = 50
PAGE = 12
FIRST = 1_000_000  # ids below are for those that the server makes
PASSWORD = "a long password"


class User:
    """A user's requests."""

    def __init__(self, server: Server, name: str) -> None:
        self.wire = Wire(server.url)
        self.login = base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()

    def ask(self, method: str, path: str, **fields: Any) -> Any:
        """The answer of a route under /api/2.0/mlflow."""
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {self.login}"}
        body = json.dumps(fields).encode()
        return self.wire.ask(method, f"/api/2.0/mlflow/{path}", body, headers)

    def pages(self, method: str, path: str, field: str, **fields: Any) -> list[list[Any]]:
        """The pages of a search."""
        found: list[list[Any]] = []
        token: dict[str, str] = {}
        while True:
            answer = self.ask(method, path, max_results=PAGE, **fields, **token)
            assert answer.status == 200, answer
            found.append(answer.json().get(field, []))
            if "next_page_token" not in answer.json():
                return found
            token = {"page_token": answer.json()["next_page_token"]}


async def add_user(uri: str, name: str, *granted: tuple[str, str], level: str = "READ") -> None:
    """Create a user with grants of a level on these resources."""
    settings = Settings(backend_store_uri=uri, auth=AuthSettings("READ", uri))
    tracking = await open_database(settings)
    accounts = await open_accounts(settings, tracking)
    user = await accounts.db.write(users.create, name, hashed(PASSWORD))
    for resource, id_ in granted:
        await accounts.db.write(grants.give, user.id, resource, id_, level)
    await tracking.close()


def store(uri: str) -> None:
    """Experiments and models, with a version each."""
    every = range(1, 1 + ROWS)
    fill(
        uri,
        "experiments",
        "experiment_id, name, lifecycle_stage, creation_time, last_update_time",
        [(FIRST + n, f"experiment {n}", "active", n, n) for n in every],
    )
    fill(uri, "registered_models", "name, creation_time", [(f"model {n}", n) for n in every])
    fill(
        uri,
        "model_versions",
        "name, version, current_stage, last_updated_time",
        [(f"model {n}", 1, "None", n) for n in every],
    )


async def test_every_page_is_full_if_50_of_10000_are_readable(uri: str, tmp_path: Path) -> None:
    config = tmp_path / "auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {uri}\n"
        f"admin_username = admin\nadmin_password = {PASSWORD}\n"
    )
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of the tests",
    }
    options = ("--app-name", "basic-auth")
    with headrace(uri, tmp_path, *options, environment=environment) as server:
        store(uri)
        mine = range(7, ROWS, ROWS // READABLE)
        both = [(kind, n) for n in mine for kind in ("experiment", "registered_model")]
        granted = [(k, f"{FIRST + n}" if k == "experiment" else f"model {n}") for k, n in both]
        await add_user(uri, "ann", *granted)
        await add_user(uri, "bob")
        await add_user(uri, "carl", ("run", "*"), level="DENY")
        ann, bob, carl = (User(server, name) for name in ("ann", "bob", "carl"))
        for method, path, field, name in (
            ("POST", "experiments/search", "experiments", "experiment"),
            ("GET", "registered-models/search", "registered_models", "model"),
            ("GET", "model-versions/search", "model_versions", "model"),
        ):
            found = ann.pages(method, path, field)
            assert [len(page) for page in found] == [PAGE] * 4 + [2], path
            names = sorted(one["name"] for page in found for one in page)
            assert names == sorted(f"{name} {n}" for n in mine), path
            assert bob.pages(method, path, field) == [[]]
        check_searches_among_experiments(uri, ann, bob, [FIRST + n for n in mine])
        check_that_creators_manage(ann, bob)
        check_filters_on_runs(carl)
        for user in (ann, bob, carl):
            user.wire.close()


def check_searches_among_experiments(uri: str, ann: User, bob: User, mine: list[int]) -> None:
    """Whether the grants of a few named experiments are read, or all grants of the user."""
    every = [*mine, *range(FIRST + 1, FIRST + 1 + MAX_AMONG)]
    fill(
        uri,
        "runs",
        "run_uuid, experiment_id, name, status, lifecycle_stage",
        [(f"run{n}", n, "run", "RUNNING", "active") for n in set(every)],
    )
    fill(
        uri,
        "logged_models",
        "model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
        " last_updated_timestamp_ms, status, lifecycle_stage",
        [(f"m-{n}", n, "model", "s3://b", 1, 1, 2, "active") for n in set(every)],
    )
    for path, field in (("runs/search", "runs"), ("logged-models/search", "models")):
        for ids in (every, every[-60:] + mine[:30], mine[:1], every[-1:] * MAX_AMONG + mine[:5]):
            spelled = [f" {n}" if n % 2 else f"{n}" for n in ids]
            readable = {f"{n}" for n in {*ids} & {*mine}}
            found = ann.pages("POST", path, field, experiment_ids=spelled)
            seen = [one["info"]["experiment_id"] for page in found for one in page]
            assert sorted(seen) == sorted(readable), path
            assert [len(page) for page in found[:-1]] == [PAGE] * (len(found) - 1)
            assert found[-1]
            assert bob.pages("POST", path, field, experiment_ids=spelled) == [[]]


def check_that_creators_manage(ann: User, bob: User) -> None:
    """Bob may use what he creates, and nobody else may."""
    new = bob.ask("POST", "experiments/create", name="of bob").json()
    assert bob.ask("GET", "experiments/get", **new).status == 200
    assert ann.ask("GET", "experiments/get", **new).status == 403
    (page,) = bob.pages("POST", "experiments/search", "experiments")
    assert [one["name"] for one in page] == ["of bob"]
    prompt = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    for name, tags in (("m", []), ("p", [prompt])):
        made = bob.ask("POST", "registered-models/create", name=name, tags=tags)
        assert made.status == 200
        assert bob.ask("GET", "registered-models/get", name=name).status == 200
        assert ann.ask("GET", "registered-models/get", name=name).status == 403
        renamed = bob.ask("POST", "registered-models/rename", name=name, new_name=f"{name}2")
        assert renamed.status == 200
        assert bob.ask("GET", "registered-models/get", name=f"{name}2").status == 200
        assert bob.ask("DELETE", "registered-models/delete", name=f"{name}2").status == 200
        # Another user who takes the name later shares nothing with bob.
        assert ann.ask("POST", "registered-models/create", name=f"{name}2").status == 200
        assert bob.ask("GET", "registered-models/get", name=f"{name}2").status == 403


def check_filters_on_runs(carl: User) -> None:
    """Runs are denied to carl. A filter would tell him which model has which run."""
    for method, path, word, fields in (
        ("GET", "model-versions/search", "run_id", {}),
        ("POST", "logged-models/search", "source_run_id", {"experiment_ids": ["0"]}),
    ):
        for text in (f"name = 'a' AND {word} = 'r'", "nonsense"):
            assert carl.ask(method, path, filter=text, **fields).status == 403
        assert carl.ask(method, path, filter="name = 'a'", **fields).json() == {}
