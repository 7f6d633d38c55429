"""Endpoints, bindings, budgets and guardrails of the AI gateway: what a comparison with stock cannot show.

`stock` is the store of stock MLflow on the same database.
"""

from __future__ import annotations

import json
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.stored import rows
from tests.fix_server import stock_uri
from tests.wire import Wire

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mlflow uses deprecated functions of its dependencies
    from mlflow.entities.gateway_endpoint import (
        GatewayEndpointModelConfig,
        GatewayModelLinkageType,
    )
    from mlflow.store.tracking.gateway.config_resolver import get_endpoint_config
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.utils.proto_json_utils import message_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_api import Api
    from tests.wire import Answer

pytestmark = pytest.mark.filterwarnings("ignore")
GATEWAY = "/api/3.0/mlflow/gateway"
JSON = {"Content-Type": "application/json"}


class Gateway:
    """Requests to the gateway's routes, and two model definitions."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.token = uuid.uuid4().hex
        secret = self.ok("secrets/create", secret_name=self.token, secret_value={"api_key": "sk-secret-key"},
                         provider="openai")["secret"]["secret_id"]  # fmt: skip
        self.one, self.two = (
            self.ok("model-definitions/create", name=f"{self.token}-{name}", secret_id=secret, provider="openai",
                    model_name=name)["model_definition"]["model_definition_id"]
            for name in ("one", "two")
        )  # fmt: skip

    def ask(self, path: str, method: str = "POST", **fields: Any) -> Answer:
        """An answer."""
        return self.api.wire.ask(method, f"{GATEWAY}/{path}", json.dumps(fields).encode(), JSON)

    def ok(self, path: str, method: str = "POST", **fields: Any) -> Any:
        """The JSON of an answer that must be 200."""
        answer = self.ask(path, method, **fields)
        assert answer.status == 200, f"{path}: {answer}"
        return answer.json()

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        answer = self.api.wire.ask("GET", f"{GATEWAY}/{path}")
        assert answer.status == 200, f"{path}: {answer}"
        return answer.json()

    def endpoint(self, name: str = "", **fields: Any) -> str:
        """The id of a new endpoint without usage tracking."""
        body = {
            "name": f"{self.token}-{name}",
            "usage_tracking": False,
            "model_configs": [model(self.one)],
        }
        return str(self.ok("endpoints/create", **body | fields)["endpoint"]["endpoint_id"])

    def guardrail(self, endpoint_id: str, helper: str | None = None) -> str:
        """The id of a new guardrail that the endpoint uses."""
        name, version = uuid.uuid4().hex, '{"name": "s", "builtin_scorer_class": "Safety"}'
        body = {"experiment_id": "0", "name": name, "serialized_scorer": version}
        path = "/api/3.0/mlflow/scorers/register"
        answer = self.api.wire.ask("POST", path, json.dumps(body).encode(), JSON)
        made = self.ok("guardrails/create", name=name, scorer_id=answer.json()["scorer_id"], scorer_version=1,
                       stage="AFTER", action="SANITIZATION", action_endpoint_id=helper)["guardrail"]  # fmt: skip
        id_ = str(made["guardrail_id"])
        self.ok("guardrails/add-to-endpoint", endpoint_id=endpoint_id, guardrail_id=id_)
        return id_


def model(definition: str, **fields: Any) -> dict[str, Any]:
    """A primary model of an endpoint."""
    return {"model_definition_id": definition, "linkage_type": "PRIMARY"} | fields


@pytest.fixture
def gateway(api: Api) -> Gateway:
    """New model definitions."""
    return Gateway(api)


@pytest.fixture
def stock(api: Api, tmp_path: Path) -> Iterator[SqlAlchemyStore]:
    """Stock's store on the same database."""
    store = SqlAlchemyStore(stock_uri(api.uri), str(tmp_path))
    yield store
    store.engine.dispose()


def test_stock_reads_changes_and_deletes_what_headrace_made(
    gateway: Gateway, stock: SqlAlchemyStore
) -> None:
    id_ = gateway.endpoint(
        model_configs=[model(gateway.one, weight=0.1), model(gateway.two, linkage_type="FALLBACK", fallback_order=1)],
        fallback_config={"strategy": "SEQUENTIAL", "max_attempts": 2},
        routing_strategy="REQUEST_BASED_TRAFFIC_SPLIT",
        created_by="ann",
    )  # fmt: skip
    gateway.ok("endpoints/set-tag", endpoint_id=id_, key="k", value="v")
    gateway.ok(
        "endpoints/bindings/create",
        endpoint_id=id_,
        resource_type="scorer",
        resource_id=gateway.token,
    )
    shown = gateway.get(f"endpoints/get?endpoint_id={id_}")["endpoint"]
    found = stock.get_gateway_endpoint(endpoint_id=id_)
    assert in_order(from_proto(found)) == in_order(shown)
    # Stock's gateway reads the endpoint before a call, and decrypts the secret.
    config = get_endpoint_config(shown["name"], stock)
    assert [one.secret_value for one in config.models] == [{"api_key": "sk-secret-key"}] * 2
    assert [b.resource_id for b in stock.list_endpoint_bindings(endpoint_id=id_)] == [gateway.token]
    budget = gateway.ok("budgets/create", budget_unit="USD", budget_amount=2, target_scope="ENDPOINT",
                        duration={"unit": "DAYS", "value": 1}, budget_action="REJECT",
                        target_value=id_)["budget_policy"]  # fmt: skip
    assert from_proto(stock.get_budget_policy(budget["budget_policy_id"])) == budget
    guardrail = gateway.guardrail(id_, id_)
    configs = gateway.get(f"guardrails/list-for-endpoint?endpoint_id={id_}")["configs"]
    assert [from_proto(one) for one in stock.list_endpoint_guardrail_configs(id_)] == configs
    stock.delete_budget_policy(budget["budget_policy_id"])
    stock.update_gateway_endpoint(id_, name=f"{gateway.token}-new")
    assert gateway.get(f"endpoints/get?endpoint_id={id_}")["endpoint"]["name"].endswith("-new")
    stock.delete_gateway_guardrail(guardrail)
    assert gateway.get(f"guardrails/list-for-endpoint?endpoint_id={id_}") == {}
    stock.delete_gateway_endpoint(id_)
    assert gateway.ask("endpoints/delete", "DELETE", endpoint_id=id_).status == 404


def test_headrace_reads_changes_and_deletes_what_stock_made(
    gateway: Gateway, stock: SqlAlchemyStore
) -> None:
    config = GatewayEndpointModelConfig(gateway.one, GatewayModelLinkageType.PRIMARY, 0.3)
    made = stock.create_gateway_endpoint(gateway.token, [config], created_by="bob")
    shown = gateway.get(f"endpoints/get?name={gateway.token}")["endpoint"]
    assert shown == from_proto(made)
    assert shown["experiment_id"] != "0"
    gateway.ok(
        "endpoints/update",
        endpoint_id=made.endpoint_id,
        updated_by="ann",
        name=f"{gateway.token}-new",
    )
    assert stock.get_gateway_endpoint(name=f"{gateway.token}-new").last_updated_by == "ann"
    gateway.ok("endpoints/delete", "DELETE", endpoint_id=made.endpoint_id)
    listed = {one.endpoint_id for one in stock.list_gateway_endpoints()}
    assert made.endpoint_id not in listed


def in_order(endpoint: Any) -> Any:
    """An endpoint with its models in one order, which stock leaves to the database."""
    return endpoint | {"model_mappings": sorted(endpoint["model_mappings"], key=json.dumps)}


def from_proto(entity: Any) -> Any:
    """The JSON of stock's answer."""
    return json.loads(message_to_json(entity.to_proto()))


def test_a_deletion_leaves_no_trace_of_the_endpoint(gateway: Gateway) -> None:
    id_, other = gateway.endpoint(), gateway.endpoint("other")
    gateway.ok("endpoints/set-tag", endpoint_id=id_, key="k")
    gateway.ok(
        "endpoints/bindings/create", endpoint_id=id_, resource_type="scorer", resource_id="r"
    )
    gateway.guardrail(id_)
    helped = gateway.guardrail(other, id_)
    assert name_of_helper(gateway, helped) == f"{gateway.token}-"
    gateway.ok("endpoints/delete", "DELETE", endpoint_id=id_)
    tables = (
        "endpoints",
        "endpoint_tags",
        "endpoint_bindings",
        "endpoint_model_mappings",
        "guardrail_configs",
    )
    for table in tables:
        query = f"SELECT count(*) FROM {table} WHERE endpoint_id = '{id_}'"
        assert rows(gateway.api.uri, query) == [(0,)], table
    assert name_of_helper(gateway, helped) is None


def name_of_helper(gateway: Gateway, guardrail_id: str) -> str | None:
    """The endpoint that a guardrail uses."""
    found = gateway.get(f"guardrails/get?guardrail_id={guardrail_id}")["guardrail"]
    name: str | None = found.get("action_endpoint_id")
    return name


def test_a_refused_creation_leaves_nothing(gateway: Gateway) -> None:
    """Stock leaves the experiment behind."""
    gateway.endpoint("taken")
    body = {"name": f"{gateway.token}-taken", "model_configs": [model(gateway.one)]}
    answer = gateway.ask("endpoints/create", **body)
    assert (answer.status, answer.json()["error_code"]) == (400, "BAD_REQUEST")
    twice = {"name": f"{gateway.token}-twice", "model_configs": [model(gateway.one)] * 2}
    assert gateway.ask("endpoints/create", **twice).status == 400
    query = f"SELECT name FROM experiments WHERE name LIKE 'gateway/{gateway.token}%'"
    assert rows(gateway.api.uri, query) == []
    query = f"SELECT count(*) FROM endpoints WHERE name LIKE '{gateway.token}%'"
    assert rows(gateway.api.uri, query) == [(1,)]


def test_simultaneous_creations_of_one_name_make_one_endpoint(gateway: Gateway) -> None:
    """And one experiment for its traces."""
    body = {"name": gateway.token, "model_configs": [model(gateway.one)]}

    def create(_: int) -> Answer:
        with Wire(gateway.api.server.url) as wire:
            return wire.ask("POST", f"{GATEWAY}/endpoints/create", json.dumps(body).encode(), JSON)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(16)))
    assert sorted(answer.status for answer in answers) == [200] + 15 * [400]
    query = f"SELECT count(*) FROM experiments WHERE name = 'gateway/{gateway.token}'"
    assert rows(gateway.api.uri, query) == [(1,)]


def test_long_lists_are_complete_and_in_order(gateway: Gateway) -> None:
    made = [gateway.endpoint(str(n)) for n in range(120)]
    listed = [one["endpoint_id"] for one in gateway.get("endpoints/list")["endpoints"]]
    assert [one for one in listed if one in set(made)] == sorted(
        made, key=lambda id_: (created_at(gateway, id_), id_)
    )
    id_, ids = made[0], [f"r{n:03}" for n in range(120)]
    for resource in ids:
        gateway.ok(
            "endpoints/bindings/create",
            endpoint_id=id_,
            resource_type="scorer",
            resource_id=resource,
        )
    bound = gateway.get(f"endpoints/bindings/list?endpoint_id={id_}")["bindings"]
    assert [one["resource_id"] for one in bound] == ids


def created_at(gateway: Gateway, endpoint_id: str) -> int:
    """The time at which an endpoint was created."""
    query = f"SELECT created_at FROM endpoints WHERE endpoint_id = '{endpoint_id}'"
    ((time,),) = rows(gateway.api.uri, query)
    return int(time)


def test_a_page_of_budgets_names_the_next(gateway: Gateway) -> None:
    budget = {
        "budget_unit": "USD",
        "budget_amount": 1,
        "target_scope": "GLOBAL",
        "budget_action": "ALERT",
    }
    made = {
        gateway.ok("budgets/create", **budget, duration={"unit": "DAYS", "value": 1})[
            "budget_policy"
        ]["budget_policy_id"]
        for _ in range(5)
    }
    found: list[str] = []
    query = "max_results=2"
    while True:
        page = gateway.get(f"budgets/list?{query}")
        found += [one["budget_policy_id"] for one in page["budget_policies"]]
        if "next_page_token" not in page:
            break
        query = f"max_results=2&page_token={page['next_page_token']}"
    assert found == sorted(found)
    assert made <= set(found)


def test_models_are_shown_in_the_order_of_the_request(gateway: Gateway) -> None:
    wanted = [gateway.two, gateway.one]
    id_ = gateway.endpoint(model_configs=[model(one) for one in wanted])
    shown = gateway.get(f"endpoints/get?endpoint_id={id_}")["endpoint"]["model_mappings"]
    assert [one["model_definition_id"] for one in shown] == wanted


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("budgets/create", {"budget_amount": "NaN"}),
        ("budgets/create", {"budget_amount": "Infinity"}),
        ("endpoints/create", {"weight": "NaN"}),
        ("endpoints/create", {"weight": 1e300}),
    ],
)
def test_numbers_that_are_none_are_refused(
    gateway: Gateway, path: str, fields: dict[str, Any]
) -> None:
    """JSON has no words for them, so no answer could show them."""
    body: dict[str, Any] = {
        "budget_unit": "USD",
        "duration": {"unit": "DAYS", "value": 1},
        "target_scope": "GLOBAL",
        "budget_action": "ALERT",
    }
    if path.startswith("endpoints"):
        body = {"name": gateway.token, "model_configs": [model(gateway.one, **fields)]}
    answer = gateway.ask(path, **body | ({} if path.startswith("endpoints") else fields))
    assert (answer.status, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
