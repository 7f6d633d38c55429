"""Creators manage what they create; deletions and renames take the users' own grants along.

The users' tables are in the tracking database or in one of their own, which may be away.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.fill import fill
from tests.fix_proxy import Proxy, address_of
from tests.scripted_access import users_of

from headrace.auth import effects, grants, roles, users
from headrace.auth.effects import KeepsGrants
from headrace.auth.open import open_accounts
from headrace.db.sql import Sql
from headrace.settings.auth import AuthSettings
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.scripted_access import Ask

    from headrace.auth.open import Accounts
    from headrace.db.base import Row, Tx

PROMPT = {"key": "mlflow.prompt.is_prompt", "value": "True"}
OWN_GRANTS = Sql(
    "SELECT r.name, p.resource_type, p.resource_pattern, p.permission FROM role_permissions p"
    " JOIN roles r ON r.id = p.role_id ORDER BY r.name, p.resource_type, p.resource_pattern"
)
GATEWAY = "/api/3.0/mlflow/gateway/endpoints"
PLACES = ("in the tracking database", "in another database")


class Admin(KeepsGrants):
    """The access of an admin."""

    is_admin = True


class Team:
    """Two users on a server, and the database that holds them."""

    def __init__(self, ask: Ask, accounts: Accounts, proxy: Proxy | None, ids: list[int]) -> None:
        self.ask = ask
        self.accounts = accounts
        self.proxy = proxy
        self.ids = ids

    async def post(self, path: str, **fields: Any) -> Any:
        """The answer to a request of ann."""
        return await self.ask("ann", "POST", path, **fields)

    async def grants(self) -> list[tuple[str, ...]]:
        """(user, resource type, id, level) of every grant of a user's own."""
        names = {f"__user_{n}__": name for n, name in zip(self.ids, ("ann", "bob"), strict=True)}

        async def read(tx: Tx) -> list[Row]:
            return await tx.fetch(OWN_GRANTS)

        rows = await self.accounts.db.read(read)
        return [(names.get(row[0], row[0]), *row[1:]) for row in rows]


@pytest.fixture
def proxy(postgres_empty_uri: str) -> Iterator[Proxy]:
    """The way to a database of users."""
    with Proxy(*address_of(postgres_empty_uri)) as made:
        yield made


@asynccontextmanager
async def team_on(tracking: str, users_uri: str, proxy: Proxy | None = None) -> AsyncIterator[Team]:
    """Ann and bob on a tracking database."""
    async with users_of(tracking) as ask:
        settings = Settings(backend_store_uri=tracking, auth=AuthSettings("READ", users_uri))
        accounts = await open_accounts(settings, ask.app.context.db)
        assert accounts.in_tracking is (proxy is None)
        ids = []
        for name in ("ann", "bob"):
            user = await accounts.db.write(users.create, name, "!")
            access = KeepsGrants(user.id, accounts.db, in_tracking=accounts.in_tracking)
            ask.users[name] = access
            ids.append(user.id)
        try:
            yield Team(ask, accounts, proxy, ids)
        finally:
            await accounts.close()


@pytest.fixture(params=PLACES)
async def team(
    request: pytest.FixtureRequest, uri: str, postgres_empty_uri: str, proxy: Proxy
) -> AsyncIterator[Team]:
    """The users' tables at each place."""
    if request.param == PLACES[0]:
        async with team_on(uri, uri) as made:
            yield made
    else:
        async with elsewhere(uri, postgres_empty_uri, proxy) as made:
            yield made


@asynccontextmanager
async def elsewhere(uri: str, users_uri: str, proxy: Proxy) -> AsyncIterator[Team]:
    """A team whose tables are in a database of their own, behind a proxy."""
    async with team_on(uri, through(users_uri, proxy), proxy) as made:
        yield made


def through(uri: str, proxy: Proxy) -> str:
    """The URI of the same database behind a proxy."""
    host, port = address_of(uri)
    found = uri.replace(f"{host}:{port}", f"127.0.0.1:{proxy.port}")
    assert found != uri
    return found


async def test_a_creator_manages_the_new_resource(team: Team) -> None:
    """Of the type that its tags say."""
    new = await team.post("experiments/create", name="mine")
    await team.post("registered-models/create", name="m")
    await team.post("registered-models/create", name="p", tags=[PROMPT])
    await team.ask("bob", "POST", "registered-models/create", name="of bob")
    assert await team.grants() == [
        ("ann", "experiment", new.json["experiment_id"], "MANAGE"),
        ("ann", "prompt", "p", "MANAGE"),
        ("ann", "registered_model", "m", "MANAGE"),
        ("bob", "registered_model", "of bob", "MANAGE"),
    ]


async def test_a_creator_manages_an_endpoint_of_the_gateway_until_it_is_deleted(
    team: Team, uri: str
) -> None:
    """Not the experiment that is made for its traces. Grants on an older experiment with its id are deleted."""
    columns = "model_definition_id, name, provider, model_name, created_at, last_updated_at"
    fill(uri, "model_definitions", columns, [("d-1", "d", "openai", "m", 1, 1)])
    older = await team.ask("admin", "POST", "experiments/create", name="older")
    number = int(older.json["experiment_id"]) + 1
    await team.accounts.db.write(grants.grant, "bob", "experiment", str(number), "MANAGE")
    models = [{"model_definition_id": "d-1", "linkage_type": "PRIMARY"}]
    made = await team.post(f"{GATEWAY}/create", name="e", model_configs=models)
    shown = made.json["endpoint"]
    assert shown["experiment_id"] == str(number)
    id_ = shown["endpoint_id"]
    assert await team.grants() == [("ann", "gateway_endpoint", id_, "MANAGE")]
    await team.accounts.db.write(grants.grant, "bob", "gateway_endpoint", id_, "READ")
    deleted = await team.ask("ann", "DELETE", f"{GATEWAY}/delete", endpoint_id=id_)
    assert (deleted.status, await team.grants()) == (200, [])


async def test_whoever_registers_a_scorer_manages_it_until_it_is_deleted(team: Team) -> None:
    """Its name may have any characters."""
    path, named = "/api/3.0/mlflow/scorers", {"experiment_id": " 0", "name": "a/b c"}
    for _ in range(2):
        made = await team.post(f"{path}/register", serialized_scorer="{}", **named)
        assert made.status == 200, made.body
    await team.ask(
        "bob", "POST", f"{path}/register", **named | {"name": "c"}, serialized_scorer="{}"
    )
    of_bob = ("bob", "scorer", "0/c", "MANAGE")
    assert await team.grants() == [("ann", "scorer", "0/a%2Fb%20c", "MANAGE"), of_bob]
    missing = await team.ask("ann", "DELETE", f"{path}/delete", **named, version=7)
    assert missing.status == 404
    assert len(await team.grants()) == 2
    assert (await team.ask("ann", "DELETE", f"{path}/delete", **named)).status == 200
    assert await team.grants() == [of_bob]


async def test_a_create_that_fails_grants_nothing(team: Team) -> None:
    await team.post("experiments/create", name="mine")
    await team.post("registered-models/create", name="m")
    before = await team.grants()
    for path, name in (("experiments/create", "mine"), ("registered-models/create", "m")):
        refused = await team.ask("bob", "POST", path, name=name)
        assert refused.status == 400
        assert b"RESOURCE_ALREADY_EXISTS" in refused.body
    assert await team.grants() == before


async def test_a_creator_whose_grant_exists_manages_again(team: Team) -> None:
    """A grant that was given before the resource existed is replaced."""
    await team.accounts.db.write(grants.grant, "ann", "registered_model", "m", "READ")
    await team.post("registered-models/create", name="m")
    assert await team.grants() == [("ann", "registered_model", "m", "MANAGE")]


async def test_a_deleted_model_leaves_no_grant_and_a_renamed_one_takes_them_along(
    team: Team,
) -> None:
    """Those of all users and both types; not those of other names."""
    for name in ("m", "n", "other"):
        await team.post("registered-models/create", name=name)
    for resource in ("registered_model", "prompt"):
        for name in ("m", "n"):
            await team.accounts.db.write(grants.grant, "bob", resource, name, "DENY")
    assert (await team.ask("ann", "DELETE", "registered-models/delete", name="m")).status == 200
    await team.post("registered-models/rename", name="n", new_name="N 2")
    assert await team.grants() == [
        ("ann", "registered_model", "N 2", "MANAGE"),
        ("ann", "registered_model", "other", "MANAGE"),
        ("bob", "prompt", "N 2", "DENY"),
        ("bob", "registered_model", "N 2", "DENY"),
    ]
    missing = await team.ask("ann", "DELETE", "registered-models/delete", name="m")
    assert missing.status == 404


@pytest.mark.parametrize("tags", [[], [PROMPT]], ids=["model", "prompt"])
async def test_no_model_gets_the_name_of_wildcard_grants(
    team: Team, tags: list[dict[str, str]]
) -> None:
    """Its creator would manage all models. Without users the name stays possible."""
    await team.post("registered-models/create", name="m", tags=tags)
    before = await team.grants()
    for user in ("ann", "bob"):
        made = await team.ask(user, "POST", "registered-models/create", name="*", tags=tags)
        moved = await team.ask(user, "POST", "registered-models/rename", name="m", new_name="*")
        for answer in (made, moved):
            assert (answer.status, b"INVALID_PARAMETER_VALUE" in answer.body) == (400, True)
            assert b"'*' is reserved for wildcard permission grants" in answer.body
    assert await team.grants() == before
    await names(team, "m")


async def test_wildcard_grants_outlive_a_model_of_that_name(team: Team) -> None:
    """It was made by a server without users, whose access is that of admin here."""
    grant = ("registered_model", "*", "DENY")
    await team.accounts.db.write(grants.grant, "bob", *grant)
    for method, path, fields in (
        ("POST", "rename", {"new_name": "m"}),
        ("DELETE", "delete", {}),
    ):
        assert (await team.ask("admin", "POST", "registered-models/create", name="*")).status == 200
        done = await team.ask("ann", method, f"registered-models/{path}", name="*", **fields)
        assert done.status == 200
        assert await team.grants() == [("bob", *grant)]


async def names(team: Team, *expected: str) -> None:
    """Only these models and prompts exist."""
    found = await team.ask("admin", "GET", "registered-models/search", max_results=9)
    assert [model["name"] for model in found.json["registered_models"]] == list(expected)


async def test_a_rename_leaves_the_grants_of_its_new_name_alone(team: Team) -> None:
    """A user who renames cannot get rid of a DENY, nor get others' grants for the model."""
    for resource in ("registered_model", "prompt"):
        await team.accounts.db.write(grants.grant, "ann", resource, "prot", "DENY")
        await team.accounts.db.write(grants.grant, "bob", resource, "prot", "EDIT")
    await team.post("registered-models/create", name="m")
    before = await team.grants()
    refused = await team.post("registered-models/rename", name="m", new_name="prot")
    assert refused.status == 400
    assert json.loads(refused.body)["error_code"] == "INVALID_PARAMETER_VALUE"
    assert json.loads(refused.body)["message"] == (
        "Cannot rename 'm' to 'prot' because users already have permissions on 'prot'. They would "
        "start applying to the renamed model or prompt. An admin must remove these permissions "
        "before the rename."
    )
    accounts = team.accounts
    team.ask.users["bob"] = Admin(team.ids[1], accounts.db, in_tracking=accounts.in_tracking)
    shown = await team.ask("bob", "POST", "registered-models/rename", name="m", new_name="prot")
    assert (
        b"(user 'ann' has DENY on prompt 'prot', user 'ann' has DENY on registered_model 'prot', "
        b"user 'bob' has EDIT on prompt 'prot', user 'bob' has EDIT on registered_model 'prot')"
    ) in shown.body
    assert await team.grants() == before
    await names(team, "m")
    same = await team.post("registered-models/rename", name="m", new_name="m")
    assert same.status == 200
    assert await team.grants() == before


async def test_a_rename_is_refused_if_a_role_names_a_model(team: Team) -> None:
    role = await team.accounts.db.write(roles.create, "team", "default", None)
    on = (role.id, "registered_model")
    await team.accounts.db.write(roles.add_permission, *on, "*", "READ")
    await team.post("registered-models/create", name="m")
    await team.post("registered-models/create", name="taken")
    for named in ("m", "n"):
        grant = await team.accounts.db.write(roles.add_permission, *on, named, "DENY")
        refused = await team.post("registered-models/rename", name="m", new_name="n")
        assert refused.status == 400
        assert b"because role grants reference these names by exact name. Renaming" in refused.body
        await team.accounts.db.write(roles.remove_permission, grant.id)
    await names(team, "m", "taken")
    taken = await team.post("registered-models/rename", name="m", new_name="taken")
    assert b"RESOURCE_ALREADY_EXISTS" in taken.body
    missing = await team.post("registered-models/rename", name="x", new_name="m")
    assert missing.status == 404
    assert (await team.post("registered-models/rename", name="m", new_name="n")).status == 200


async def test_a_new_experiment_has_no_grants_of_an_old_one(team: Team) -> None:
    """SQLite gives the id of an experiment that `headrace gc` deleted to the next one."""
    last = (await team.post("experiments/create", name="old")).json["experiment_id"]
    next_, beyond = str(int(last) + 1), f"{int(last) + 1}0"
    role = await team.accounts.db.write(roles.create, "team", "default", None)
    for id_ in (next_, beyond):
        await team.accounts.db.write(grants.grant, "ann", "experiment", id_, "DENY")
        await team.accounts.db.write(grants.grant, "bob", "experiment", id_, "EDIT")
        await team.accounts.db.write(grants.grant, "bob", "scorer", f"{id_}/s", "EDIT")
        await team.accounts.db.write(roles.add_permission, role.id, "experiment", id_, "READ")
    await team.accounts.db.write(roles.add_permission, role.id, "experiment", "*", "READ")
    new = await team.post("experiments/create", name="new")
    assert new.json["experiment_id"] == next_
    assert await team.grants() == sorted(
        [
            ("ann", "experiment", last, "MANAGE"),
            ("ann", "experiment", next_, "MANAGE"),
            ("ann", "experiment", beyond, "DENY"),
            ("bob", "experiment", beyond, "EDIT"),
            ("bob", "scorer", f"{beyond}/s", "EDIT"),
            ("team", "experiment", "*", "READ"),
            ("team", "experiment", beyond, "READ"),
        ]
    )


async def test_a_deleted_experiment_keeps_its_grants(team: Team) -> None:
    """It can be restored."""
    new = await team.post("experiments/create", name="mine")
    number = new.json["experiment_id"]
    await team.post("experiments/delete", experiment_id=number)
    assert await team.grants() == [("ann", "experiment", number, "MANAGE")]


async def test_a_user_who_is_deleted_meanwhile_creates_nothing(team: Team) -> None:
    await team.accounts.db.write(users.delete, "ann", team.accounts.facts.dead)
    assert (await team.post("experiments/create", name="mine")).status == 401
    assert (await team.post("registered-models/create", name="m")).status == 401
    assert (await team.ask("bob", "POST", "experiments/create", name="mine")).status == 200
    assert (await team.ask("bob", "POST", "registered-models/create", name="m")).status == 200


async def test_without_the_users_database_nothing_is_created(
    uri: str, postgres_empty_uri: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is 429, which says that nothing is written; the names are free again."""
    monkeypatch.setattr(effects, "RETRY_S", 0.5)
    async with elsewhere(uri, postgres_empty_uri, proxy) as team:
        proxy.cut()
        assert (await team.post("experiments/create", name="mine")).status == 429
        assert (await team.post("registered-models/create", name="m")).status == 429
        proxy.restore()
        new = await team.post("experiments/create", name="mine")
        assert (await team.post("registered-models/create", name="m")).status == 200
        assert await team.grants() == [
            ("ann", "experiment", new.json["experiment_id"], "MANAGE"),
            ("ann", "registered_model", "m", "MANAGE"),
        ]


async def test_a_short_outage_of_the_users_database_only_delays_a_create(
    uri: str, postgres_empty_uri: str, proxy: Proxy
) -> None:
    async with elsewhere(uri, postgres_empty_uri, proxy) as team:
        proxy.cut()
        creating = asyncio.create_task(team.post("experiments/create", name="mine"))
        await exists(team, "mine")
        proxy.restore()
        number = (await creating).json["experiment_id"]
        assert await team.grants() == [("ann", "experiment", number, "MANAGE")]


async def test_what_others_use_already_is_not_undone(
    uri: str, postgres_empty_uri: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "RETRY_S", 2.0)
    async with elsewhere(uri, postgres_empty_uri, proxy) as team:
        proxy.cut()
        creating = asyncio.create_task(team.post("experiments/create", name="mine"))
        number = await exists(team, "mine")
        run = await team.ask("admin", "POST", "runs/create", experiment_id=number)
        assert run.status == 200
        assert (await creating).status == 503
        assert await exists(team, "mine") == number


async def test_a_deletion_says_that_grants_are_left_and_a_rename_changes_nothing(
    uri: str, postgres_empty_uri: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "RETRY_S", 0.2)
    async with elsewhere(uri, postgres_empty_uri, proxy) as team:
        for name in ("m", "n"):
            await team.post("registered-models/create", name=name)
        proxy.cut()
        renamed = await team.post("registered-models/rename", name="m", new_name="M")
        deleted = await team.ask("ann", "DELETE", "registered-models/delete", name="n")
        assert renamed.status == 429  # it reads grants first
        assert deleted.status == 503
        assert b"The change is stored" in deleted.body
        await names(team, "m")


async def exists(team: Team, name: str) -> str:
    """The id of an experiment, as soon as it exists."""
    while True:
        found = await team.ask("admin", "GET", "experiments/get-by-name", experiment_name=name)
        if found.status == 200:
            return str(found.json["experiment"]["experiment_id"])
        await asyncio.sleep(0.02)


async def test_a_lost_answer_to_the_commit_loses_no_grant(
    postgres_uri: str, postgres_empty_uri: str, proxy: Proxy
) -> None:
    """For a COMMIT of either database, headrace asks for the outcome, and answers as if nothing had happened."""
    tracking = Proxy(*address_of(postgres_uri))
    with tracking:
        uri = through(postgres_uri, tracking)
        for place in PLACES:
            users_uri = uri if place == PLACES[0] else through(postgres_empty_uri, proxy)
            way = None if place == PLACES[0] else proxy
            async with team_on(uri, users_uri, way) as team:
                made = []
                for lossy in (tracking, way or tracking):
                    lost = lossy.lost_answers
                    lossy.lose_answer_to(b"COMMIT\0", then=lossy.reset)
                    name = f"{place} {len(made)}"
                    made.append((await team.post("experiments/create", name=name)).json)
                    assert lossy.lost_answers == lost + 1
                assert await team.grants() == [
                    ("ann", "experiment", new["experiment_id"], "MANAGE") for new in made
                ]
