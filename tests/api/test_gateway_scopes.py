"""Endpoints and guardrails of the AI gateway, as far as grants let the caller see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.fill import fill
from tests.scripted_access import Granted, users_of

from headrace.auth.access import Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.scripted_access import Ask

    from headrace.auth.rules import Resource

GATEWAY = "/api/3.0/mlflow/gateway"


class Blind(Granted):
    """A user to whom grants deny some ids."""

    def __init__(self, *ids: str, **scopes: Scope) -> None:
        super().__init__(**scopes)
        self.ids = ids

    async def undenied(self, resource: Resource, ids: Iterable[str]) -> frozenset[str]:
        """See `Access.undenied`."""
        return frozenset(ids) - frozenset(self.ids)


@pytest.fixture
async def ask(uri: str) -> AsyncIterator[Ask]:
    """Two model definitions with a secret each, and a scorer."""
    async with users_of(uri) as asked:
        secret = "secret_id, secret_name, encrypted_value, wrapped_dek, kek_version, masked_value, created_at,"
        fill(uri, "secrets", f"{secret} last_updated_at",
             [(f"s-{n}", f"secret {n}", b"", b"", 1, "{}", 1, 1) for n in (1, 2)])  # fmt: skip
        fill(
            uri,
            "model_definitions",
            "model_definition_id, name, secret_id, provider, model_name, created_at, last_updated_at",
            [(f"d-{n}", f"model {n}", f"s-{n}", "openai", "m", 1, 1) for n in (1, 2)],
        )
        fill(uri, "scorers", "experiment_id, scorer_name, scorer_id", [(0, "a b", "sc")])
        version = ("sc", 1, '{"name": "s"}', 1)
        columns = "scorer_id, scorer_version, serialized_scorer, creation_time"
        fill(uri, "scorer_versions", columns, [version])
        yield asked


async def endpoint(ask: Ask, name: str) -> str:
    """The id of a new endpoint with both models."""
    models = [{"model_definition_id": f"d-{n}", "linkage_type": "PRIMARY"} for n in (1, 2)]
    fields = {"name": name, "model_configs": models, "usage_tracking": False}
    made = await ask("admin", "POST", f"{GATEWAY}/endpoints/create", **fields)
    return str(made.json["endpoint"]["endpoint_id"])


async def test_a_denied_model_or_secret_is_not_shown_within_an_endpoint(ask: Ask) -> None:
    id_ = await endpoint(ask, "e")
    ask.users |= {"ann": Blind("d-1"), "bob": Blind("s-2")}
    change = {"endpoint_id": id_, "updated_by": "x"}
    for user, shown in (
        ("admin", [("d-1", "s-1"), ("d-2", "s-2")]),
        ("ann", [(None, None), ("d-2", "s-2")]),
        ("bob", [("d-1", "s-1"), ("d-2", None)]),
    ):
        found = [
            (await ask(user, "GET", f"{GATEWAY}/endpoints/get", endpoint_id=id_)).json["endpoint"],
            (await ask(user, "POST", f"{GATEWAY}/endpoints/update", **change)).json["endpoint"],
            *(await ask(user, "GET", f"{GATEWAY}/endpoints/list")).json["endpoints"],
        ]
        assert [ids(one["model_mappings"]) for one in found] == [shown] * 3, user
    model = {"model_definition_id": "d-2", "linkage_type": "FALLBACK"}
    attached = await ask(
        "bob", "POST", f"{GATEWAY}/endpoints/models/attach", endpoint_id=id_, model_config=model
    )
    assert ids([attached.json["mapping"]]) == [("d-2", None)]
    assert "secret_name" not in attached.json["mapping"]["model_definition"]


def ids(mappings: list[dict[str, Any]]) -> list[tuple[str | None, str | None]]:
    """The definition and the secret of each model."""
    return [
        (one.get("model_definition_id"), one.get("model_definition", {}).get("secret_id"))
        for one in mappings
    ]


async def test_a_list_has_the_endpoints_that_the_caller_may_read(ask: Ask) -> None:
    made = [await endpoint(ask, f"e{n}") for n in range(4)]
    ask.users |= {
        "ann": Granted(gateway_endpoint=Scope(frozenset(made[1:3]), only=True)),
        "bob": Granted(gateway_endpoint=Scope(frozenset(made[1:3]), only=False)),
    }
    for user, wanted in (("ann", made[1:3]), ("bob", [made[0], made[3]]), ("admin", made)):
        listed = await ask(user, "GET", f"{GATEWAY}/endpoints/list")
        assert sorted(one["endpoint_id"] for one in listed.json["endpoints"]) == sorted(wanted)


async def test_a_guardrail_shows_its_scorer_to_those_who_may_read_it(ask: Ask) -> None:
    """Its instructions are a secret like those of any scorer. The id of a scorer has its name encoded."""
    id_ = await endpoint(ask, "e")
    body = {
        "name": "g",
        "scorer_id": "sc",
        "scorer_version": 1,
        "stage": "BEFORE",
        "action": "VALIDATION",
    }
    made = await ask("admin", "POST", f"{GATEWAY}/guardrails/create", **body)
    use = {"endpoint_id": id_, "guardrail_id": made.json["guardrail"]["guardrail_id"]}
    await ask("admin", "POST", f"{GATEWAY}/guardrails/add-to-endpoint", **use)
    none, other = Scope(frozenset(), only=True), Scope(frozenset({"0/a%20b"}), only=False)
    ask.users |= {
        "reader": Granted(scorer=Scope(frozenset({"0/a%20b"}), only=True)),
        "blind": Granted(scorer=other),
        "elsewhere": Granted(experiment=none),
        "denied": Blind("*"),
    }
    for user in ("admin", "reader", "blind", "elsewhere", "denied"):
        listed = await ask(user, "GET", f"{GATEWAY}/guardrails/list-for-endpoint", endpoint_id=id_)
        changed = await ask(user, "PATCH", f"{GATEWAY}/guardrails/update-config", **use)
        for config in (*listed.json["configs"], changed.json["config"]):
            assert ("scorer" in config["guardrail"]) is (user in ("admin", "reader")), user
