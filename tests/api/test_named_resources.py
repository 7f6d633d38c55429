"""Resources of others that a request names for a resource of the caller's own: who may name them.

Stock MLflow only refuses an experiment that is denied, and every user may name any endpoint.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_auth import ADMIN, credentials, headrace_with_users, password_of
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.wire import Answer

JSON = {"Content-Type": "application/json"}
ENDPOINTS = "gateway/endpoints/"


class Team:
    """An admin and the user ann, who may read everything."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def ask(self, user: str, method: str, path: str, **fields: Any) -> Answer:
        """The answer to a request."""
        target = f"/api/{path}" if path[1] == "." else f"/api/3.0/mlflow/{path}"
        return self.wire.ask(method, target, json.dumps(fields).encode(), JSON | credentials(user))

    def make(self, path: str, **fields: Any) -> Any:
        """The answer to a request of the admin, which must succeed."""
        answer = self.ask(ADMIN, "POST", path, **fields)
        assert answer.status == 200, answer
        return answer.json()

    def status(self, method: str, path: str, **fields: Any) -> int:
        """The status of a request of ann."""
        return self.ask("ann", method, path, **fields).status

    def grant(self, resource_type: str, id_: str, permission: str) -> None:
        """Give ann a grant."""
        on = {"username": "ann", "resource_type": resource_type, "resource_id": id_}
        self.make("users/permissions/grant", **on, permission=permission)

    def endpoint(self, name: str) -> str:
        """The id of a new endpoint of the admin, with a definition that ann may use."""
        secret = self.make(
            "gateway/secrets/create",
            secret_name=name, secret_value={"api_key": "k"}, provider="openai",
        )["secret"]["secret_id"]  # fmt: skip
        made = self.make(
            "gateway/model-definitions/create",
            name=name, secret_id=secret, provider="openai", model_name="gpt",
        )  # fmt: skip
        self.definition = made["model_definition"]["model_definition_id"]
        self.grant("gateway_model_definition", self.definition, "USE")
        made = self.make(ENDPOINTS + "create", name=name, model_configs=self.models())
        return str(made["endpoint"]["endpoint_id"])

    def models(self) -> list[dict[str, str]]:
        """The models of an endpoint."""
        return [{"model_definition_id": self.definition, "linkage_type": "PRIMARY"}]


@pytest.fixture
def team(uri: str, tmp_path: Path) -> Iterator[Team]:
    """A server with users, with the two experiments 1 and 2."""
    with headrace_with_users(uri, tmp_path, uri) as server, Wire(server.url) as wire:
        team = Team(wire)
        team.make("2.0/mlflow/users/create", username="ann", password=password_of("ann"))
        for name in "AB":
            team.make("2.0/mlflow/experiments/create", name=name)
        yield team


def test_only_who_may_change_an_experiment_has_an_endpoint_record_its_calls_there(
    team: Team,
) -> None:
    shared = team.endpoint("shared")
    create = {"name": "mine", "model_configs": team.models()}
    assert team.status("POST", ENDPOINTS + "create", **create, experiment_id="1") == 403
    team.grant("experiment", "1", "EDIT")
    assert team.status("POST", ENDPOINTS + "create", **create, experiment_id="01") == 200
    team.grant("gateway_endpoint", shared, "EDIT")
    update = {"endpoint_id": shared, "experiment_id": "2"}
    assert team.status("POST", ENDPOINTS + "update", **update) == 403
    assert team.ask(ADMIN, "POST", ENDPOINTS + "update", **update).status == 200
    # The web page sends the experiment that the endpoint has along with other changes.
    assert team.status("POST", ENDPOINTS + "update", **update, name="renamed") == 200
    assert team.status("POST", ENDPOINTS + "update", **(update | {"experiment_id": "1"})) == 200


def test_only_who_may_use_an_endpoint_makes_a_scorer_that_calls_it(team: Team) -> None:
    """A scorer of new traces calls it with the login of the server."""
    shared = team.endpoint("shared")
    team.grant("experiment", "1", "EDIT")
    judge = {"instructions_judge_pydantic_data": {"model": "gateway:/shared", "instructions": "x"}}
    scorer = {"experiment_id": "1", "name": "s", "serialized_scorer": json.dumps(judge)}
    online = {"experiment_id": "1", "name": "s", "sample_rate": 0.5}
    assert team.status("POST", "scorers/register", **scorer) == 403
    assert team.ask(ADMIN, "POST", "scorers/register", **scorer).status == 200
    assert team.status("PUT", "scorers/online-config", **online) == 403
    assert team.status("PUT", "scorers/online-config", **(online | {"sample_rate": 0})) == 200
    team.grant("gateway_endpoint", shared, "USE")
    assert team.status("POST", "scorers/register", **scorer) == 200
    assert team.status("PUT", "scorers/online-config", **online) == 200
    judge = {"instructions_judge_pydantic_data": {"model": "gateway:/none"}}
    scorer["serialized_scorer"] = json.dumps(judge)
    assert team.status("POST", "scorers/register", **scorer) == 404
