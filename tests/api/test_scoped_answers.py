"""Callers see only what they may read: in searches, in shared reads, in long answers, in GraphQL."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.fill import fill
from tests.scripted_access import Granted, users_of

from headrace.api.pieces import FIRST_ITEMS
from headrace.auth.access import NOTHING, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.scripted_access import Ask

PROMPT = {"key": "mlflow.prompt.is_prompt", "value": "TRUE"}  # stock ignores the case
LONG = "x" * 5000
EVERY_TYPE = ("run", "logged_model", "registered_model_version", "prompt_version")


def only(*ids: object) -> Scope:
    """The scope of these ids."""
    return Scope(frozenset(map(str, ids)), only=True)


def all_but(*ids: object) -> Scope:
    """The scope of all other ids."""
    return Scope(frozenset(map(str, ids)), only=False)


async def pages(ask: Ask, user: str, path: str, field: str, size: int, **fields: Any) -> list[Any]:
    """The pages of a search."""
    found = []
    token = {}
    method = "GET" if path.startswith(("registered", "model-v")) else "POST"
    while True:
        answer = await ask(user, method, path, max_results=size, **fields, **token)
        found.append(answer.json.get(field, []))
        if "next_page_token" not in answer.json:
            return found
        token = {"page_token": answer.json["next_page_token"]}


def sizes(found: Iterable[Any]) -> list[int]:
    """The number of items of each page."""
    return [len(page) for page in found]


async def new_experiments(ask: Ask, count: int) -> list[str]:
    """The ids of new experiments, in the order of a search."""
    answers = [await ask("admin", "POST", "experiments/create", name=f"e{n}") for n in range(count)]
    return [answer.json["experiment_id"] for answer in answers]


async def new_run(ask: Ask, experiment_id: str) -> str:
    """The id of a new run."""
    run = await ask("admin", "POST", "runs/create", experiment_id=experiment_id)
    return run.json["run"]["info"]["run_id"]


async def test_pages_are_full_and_the_last_one_has_no_token(uri: str) -> None:
    ann = Granted()
    async with users_of(uri, ann=ann) as ask:
        ids = await new_experiments(ask, 12)
        mine = ids[1:11:2] + ids[-1:]
        ann.scopes = {"experiment": only(*mine)}
        found = await pages(
            ask, "ann", "experiments/search", "experiments", 2, order_by=["experiment_id"]
        )
        assert sizes(found) == [2, 2, 2]
        assert [one["experiment_id"] for page in found for one in page] == mine
        ann.scopes = {"experiment": all_but(*mine, "0")}
        found = await pages(ask, "ann", "experiments/search", "experiments", 4)
        assert sizes(found) == [4, 2]
        ann.scopes = {"experiment": NOTHING}
        assert await pages(ask, "ann", "experiments/search", "experiments", 4) == [[]]


async def test_equal_searches_of_several_callers_share_nothing_that_one_may_not_read(
    uri: str,
) -> None:
    users = {f"user{n}": Granted() for n in range(4)}
    async with users_of(uri, **users) as ask:
        ids = await new_experiments(ask, 4)
        runs = [await new_run(ask, id_) for id_ in ids]
        for user, id_ in zip(users.values(), ids, strict=True):
            user.scopes = {"experiment": only(id_)}
        order = [*users, "admin"] * 20
        for path, field in (("experiments/search", "experiments"), ("runs/search", "runs")):
            fields: dict[str, Any] = {"max_results": 50}
            if field == "runs":
                fields["experiment_ids"] = ids
            answers = await asyncio.gather(*(ask(u, "POST", path, **fields) for u in order))
            for user, answer in zip(order, answers, strict=True):
                items = answer.json[field]
                found = {one.get("experiment_id") or one["info"]["run_id"] for one in items}
                if user != "admin":
                    mine = ids if field == "experiments" else runs
                    assert found == {mine[int(user[4:])]}
                else:
                    assert found >= set(ids if field == "experiments" else runs)


async def test_runs_are_found_only_in_readable_experiments(uri: str) -> None:
    ann, bob = Granted(), Granted("run")
    async with users_of(uri, ann=ann, bob=bob) as ask:
        ids = await new_experiments(ask, 3)
        runs = [await new_run(ask, id_) for id_ in ids for _ in range(2)]
        ann.scopes = {"experiment": all_but(ids[1])}
        found = await pages(ask, "ann", "runs/search", "runs", 2, experiment_ids=ids)
        assert sizes(found) == [2, 2]
        assert {run["info"]["run_id"] for page in found for run in page} == {*runs[:2], *runs[4:]}
        spelled = [f" 0{ids[1]}", f"+{ids[1]}"]
        for hidden in ([ids[1]], spelled):
            assert (await ask("ann", "POST", "runs/search", experiment_ids=hidden)).body == b"{}"
        assert (await ask("bob", "POST", "runs/search", experiment_ids=ids)).body == b"{}"
        wrong = await ask("bob", "POST", "runs/search", experiment_ids=ids, filter="nonsense")
        assert wrong.status == 400


async def test_a_long_page_has_only_readable_rows(uri: str) -> None:
    ann = Granted()
    async with users_of(uri, ann=ann) as ask:
        await ask("admin", "POST", "experiments/create", name="first")
        many = range(10, 10 + 2 * FIRST_ITEMS)
        fill(
            uri,
            "experiments",
            "experiment_id, name, lifecycle_stage, creation_time, last_update_time",
            [(n, f"experiment {n}", "active", 1, 1) for n in many],
        )
        mine = [n for n in many if n % 3]
        ann.scopes = {"experiment": only(*mine)}
        fields = {"max_results": len(mine), "order_by": ["experiment_id"]}
        answer = await ask("ann", "POST", "experiments/search", **fields)
        assert answer.in_pieces
        assert [int(one["experiment_id"]) for one in answer.json["experiments"]] == mine
        assert "next_page_token" not in answer.json


async def test_models_and_prompts_are_judged_by_their_tag(uri: str) -> None:
    ann, bob = Granted(), Granted("prompt_version")
    async with users_of(uri, ann=ann, bob=bob) as ask:
        for name, tags in (("a", []), ("b", []), ("p", [PROMPT]), ("q", [PROMPT])):
            await ask("admin", "POST", "registered-models/create", name=name, tags=tags)
            source = "dummy-source" if tags else "s3://b/x"
            for _ in range(2):
                answer = await ask(
                    "admin", "POST", "model-versions/create", name=name, source=source, tags=tags
                )
                assert answer.status == 200, answer.body

        async def found(user: str, **fields: Any) -> list[str]:
            names = []
            for path, field in (
                ("registered-models/search", "registered_models"),
                ("model-versions/search", "model_versions"),
            ):
                for page in await pages(ask, user, path, field, 2, **fields):
                    names += [one["name"] for one in page]
            return sorted(names)

        asks_for_prompts = {"filter": "tags.`mlflow.prompt.is_prompt` = 'TRUE'"}
        ann.scopes = {"registered_model": only("a", "p"), "prompt": all_but("q")}
        assert await found("ann") == ["a"] * 3 + ["p"] * 3  # "TRUE" is not excluded, as in stock
        assert await found("ann", **asks_for_prompts) == ["p"] * 3
        ann.scopes = {"registered_model": all_but("a"), "prompt": NOTHING}
        assert await found("ann") == ["b"] * 3
        ann.scopes = {"prompt": only("q")}
        assert await found("ann", **asks_for_prompts) == ["q"] * 3
        assert await found("bob", **asks_for_prompts) == ["p", "q"]  # but none of their versions


async def test_logged_models_are_found_only_in_readable_experiments(uri: str) -> None:
    ann, bob = Granted(), Granted("logged_model")
    async with users_of(uri, ann=ann, bob=bob) as ask:
        ids = await new_experiments(ask, 3)
        for id_ in ids * 2:
            await ask("admin", "POST", "logged-models", experiment_id=id_)
        ann.scopes = {"experiment": only(*ids[:2])}
        search = {"experiment_ids": ids, "path": "logged-models/search", "field": "models"}
        found = await pages(ask, "ann", size=2, **search)
        assert sizes(found) == [2, 2]
        assert {one["info"]["experiment_id"] for page in found for one in page} == set(ids[:2])
        assert await pages(ask, "bob", size=2, **search) == [[]]


class Populated:
    """A run, a logged model, a version and a prompt that refer to each other."""

    run_id: str
    model_id: str

    async def fill(self, ask: Ask) -> None:
        """Create them."""
        self.run_id = await new_run(ask, "0")
        new = await ask(
            "admin", "POST", "logged-models", experiment_id="0", source_run_id=self.run_id
        )
        self.model_id = new.json["model"]["info"]["model_id"]
        link = {"run_id": self.run_id, "models": [{"model_id": self.model_id, "step": 1}]}
        await ask("admin", "POST", "runs/outputs", **link)
        link["models"] = [{"model_id": self.model_id}]
        await ask("admin", "POST", "runs/log-inputs", **link)
        point = {"key": "loss", "value": 1.0, "timestamp": 1, "model_id": self.model_id}
        await ask("admin", "POST", "runs/log-metric", run_id=self.run_id, **point)
        for name, tags in (("model", []), ("prompt", [PROMPT]), ("other", [])):
            await ask("admin", "POST", "registered-models/create", name=name, tags=tags)
            source = "dummy-source" if tags else "s3://b/x"
            version = {"name": name, "source": source, "tags": tags, "run_link": "http://run"}
            run = {} if name == "other" else {"run_id": self.run_id}
            answer = await ask("admin", "POST", "model-versions/create", **version, **run)
            assert answer.status == 200, answer.body
        alias = {"name": "model", "alias": "best", "version": "1"}
        await ask("admin", "POST", "registered-models/alias", **alias)

    def requests(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Every request whose answer shows an id of another type."""
        one = {"name": "model", "version": "1"}
        prompts = {"filter": "tags.`mlflow.prompt.is_prompt` = 'TRUE'"}
        return [
            ("GET", "runs/get", {"run_id": self.run_id}),
            ("POST", "runs/search", {"experiment_ids": ["0"]}),
            ("GET", f"logged-models/{self.model_id}", {}),
            ("POST", "logged-models/search", {"experiment_ids": ["0"]}),
            (
                "PATCH",
                f"logged-models/{self.model_id}",
                {"model_id": self.model_id, "status": "LOGGED_MODEL_READY"},
            ),
            ("GET", "registered-models/get", {"name": "model"}),
            ("GET", "registered-models/get", {"name": "prompt"}),
            ("PATCH", "registered-models/update", {"name": "model", "description": "d"}),
            ("GET", "registered-models/search", {}),
            ("GET", "registered-models/search", prompts),
            ("POST", "registered-models/rename", {"name": "other", "new_name": "other"}),
            ("GET", "registered-models/get-latest-versions", {"name": "model"}),
            ("GET", "registered-models/alias", {"name": "model", "alias": "best"}),
            ("GET", "model-versions/get", one),
            ("GET", "model-versions/search", {}),
            ("PATCH", "model-versions/update", {**one, "description": "d"}),
            ("POST", "model-versions/transition-stage", {**one, "stage": "Staging"}),
        ]


def without(answer: Any, *denied: str) -> Any:
    """An answer without what stock removes for a caller to whom these types are denied."""
    if isinstance(answer, list):
        return [without(one, *denied) for one in answer]
    if not isinstance(answer, dict):
        return answer
    gone: set[str] = {"last_updated_timestamp", "last_updated_timestamp_ms"}
    of_run = {"run_link", "run_id", "source_run_id"}
    # A run's own id stays.
    if "run" in denied and "run_uuid" not in answer:
        gone |= {name for name in of_run if answer.get(name)}
    if "logged_model" in denied:
        gone |= {"model_inputs", "model_outputs"}
    if "latest_versions" in answer:
        is_prompt = PROMPT in answer.get("tags", [])
        if ("prompt_version" if is_prompt else "registered_model_version") in denied:
            gone.add("latest_versions")
    return {name: without(one, *denied) for name, one in answer.items() if name not in gone}


@pytest.mark.parametrize(
    "denied", [("run",), ("logged_model",), EVERY_TYPE[2:3], EVERY_TYPE[3:], EVERY_TYPE]
)
async def test_answers_omit_what_belongs_to_denied_types(uri: str, denied: tuple[Any, ...]) -> None:
    of_population = Populated()
    async with users_of(uri, ann=Granted(*denied)) as ask:
        await of_population.fill(ask)
        changed = 0
        for method, path, fields in of_population.requests():
            whole = (await ask("admin", method, path, **fields)).json
            seen = (await ask("ann", method, path, **fields)).json
            if path.endswith("search") and not _lists(path, denied):
                continue
            assert without(seen) == without(whole, *denied), path
            changed += without(whole) != without(whole, *denied)
        assert changed


def _lists(path: str, denied: tuple[str, ...]) -> bool:
    """Whether the rows of a search are of a type that is not denied."""
    row = {"runs": "run", "logged-models": "logged_model"}.get(path.split("/")[0])
    if path.startswith("model-versions"):
        return not {"registered_model_version", "prompt_version"} & set(denied)
    return row not in denied


async def test_long_answers_omit_it_too(uri: str) -> None:
    """A run, a model and a version whose tags are too long for one read; and pages of them."""
    of_population = Populated()
    async with users_of(uri, ann=Granted(*EVERY_TYPE), bob=Granted("run", "logged_model")) as ask:
        await of_population.fill(ask)
        tags = [(f"t{n}", LONG) for n in range(1200)]
        ids = (of_population.run_id, of_population.model_id)
        fill(uri, "tags", "run_uuid, key, value", [(ids[0], *tag) for tag in tags])
        fill(
            uri,
            "logged_model_tags",
            "model_id, experiment_id, tag_key, tag_value",
            [(ids[1], 0, *tag) for tag in tags],
        )
        for name in ("model", "prompt"):
            rows = [(name, *tag) for tag in tags]
            fill(uri, "registered_model_tags", "name, key, value", rows)
            rows = [(name, 1, *tag) for tag in tags]
            fill(uri, "model_version_tags", "name, version, key, value", rows)
        in_pieces = 0
        for method, path, fields in of_population.requests():
            if method == "PATCH" or path.endswith(("rename", "transition-stage")):
                continue
            whole = await ask("admin", method, path, **fields)
            in_pieces += whole.in_pieces
            for user, denied in (("ann", EVERY_TYPE), ("bob", EVERY_TYPE[:2])):
                if path.endswith("search") and not _lists(path, denied):
                    continue
                seen = await ask(user, method, path, **fields)
                assert seen.in_pieces == whole.in_pieces
                assert without(seen.json) == without(whole.json, *denied), (user, path)
        assert in_pieces >= 8


async def test_graphql_omits_it_too(uri: str) -> None:
    of_population = Populated()
    query = """query GetRun($data: MlflowGetRunInput!) { mlflowGetRun(input: $data) { run {
        info { runId } modelVersions { name runId }
        inputs { modelInputs { modelId } } outputs { modelOutputs { modelId } } } } }"""
    async with users_of(uri, ann=Granted("logged_model")) as ask:
        await of_population.fill(ask)
        variables = {"data": {"runId": of_population.run_id}}
        seen = await ask("ann", "POST", "/graphql", query=query, variables=variables)
        whole = await ask("admin", "POST", "/graphql", query=query, variables=variables)
    assert of_population.model_id in json.dumps(whole.json)
    assert of_population.model_id not in json.dumps(seen.json)
    assert seen.json["data"]["mlflowGetRun"]["run"]["modelVersions"]


async def test_a_listing_of_an_experiment_omits_its_runs_if_runs_are_denied(
    uri: str, tmp_path: Path
) -> None:
    run_id = "0" * 31 + "a"
    for directory in (f"7/{run_id}", "7/models", f"7/deeper/{run_id}", run_id):
        (tmp_path / "files" / directory).mkdir(parents=True)
    listing = "/api/2.0/mlflow-artifacts/artifacts"
    async with users_of(uri, f"{tmp_path}/files", ann=Granted("run")) as ask:
        for path, shown in (
            ("7", ["deeper", "models"]),
            ("7/", ["deeper", "models"]),
            ("7/deeper", [run_id]),
            ("", [run_id, "7"]),
        ):
            answer = await ask("ann", "GET", listing, path=path)
            assert [one["path"] for one in answer.json["files"]] == shown
        whole = await ask("admin", "GET", listing, path="7")
        assert [one["path"] for one in whole.json["files"]] == [run_id, "deeper", "models"]


async def test_creations_deletions_and_renames_change_grants(uri: str) -> None:
    ann = Granted()
    async with users_of(uri, ann=ann) as ask:
        new = await ask("ann", "POST", "experiments/create", name="mine")
        await ask("ann", "POST", "registered-models/create", name="m")
        await ask("ann", "POST", "registered-models/create", name="p", tags=[PROMPT])
        await ask("ann", "POST", "registered-models/rename", name="m", new_name="n")
        await ask("ann", "DELETE", "registered-models/delete", name="n")
        for path in ("experiments/create", "registered-models/create"):
            failed = await ask("ann", "POST", path, name="mine" if "exp" in path else "p")
            assert failed.status == 400
        await ask("ann", "POST", "experiments/delete", experiment_id=new.json["experiment_id"])
    done = ("finished",)
    assert [change for change in ann.changes if change != done] == [
        ("created", "experiment", new.json["experiment_id"]),
        ("created", "registered_model", "m"),
        ("created", "prompt", "p"),
        ("renamed", "registered_model", "m", "n"),
        ("deleted", "registered_model", "n"),
    ]
    assert ann.changes[1::2] == [done] * 5


async def test_scorers_are_listed_as_far_as_they_and_their_experiments_may_be_read(
    uri: str,
) -> None:
    access = {
        "some": Granted(scorer=only("1/n3", "2/n0", "1/a%2Fb"), experiment=all_but("2")),
        "most": Granted(scorer=all_but("1/n2", "1/a%2Fb")),
        "none": Granted("scorer_version"),
    }
    path = "/api/3.0/mlflow/scorers"
    async with users_of(uri, **access) as ask:
        first, second = await new_experiments(ask, 2)
        assert [first, second] == ["1", "2"]
        for experiment, name in [*(("1", f"n{n}") for n in range(4)), ("1", "a/b"), ("2", "n0")]:
            new = {"experiment_id": experiment, "name": name, "serialized_scorer": "{}"}
            assert (await ask("admin", "POST", f"{path}/register", **new)).status == 200
        seen = {
            user: [
                f"{one['experiment_id']}/{one['scorer_name']}"
                for one in (await ask(user, "GET", f"{path}/list")).json.get("scorers", [])
            ]
            for user in access
        }
        assert seen == {
            "some": ["1/a/b", "1/n3"],
            "most": ["1/n0", "1/n1", "1/n3", "2/n0"],
            "none": [],
        }


async def test_queues_are_listed_for_their_members_and_for_editors(uri: str) -> None:
    path = "/api/3.0/mlflow/review-queues"
    access = {
        "Amy": Granted("update review_queue"),
        "cy": Granted("update review_queue"),
        "ed": Granted(),
        "bob": Granted("review_queue"),
    }
    for user, one in access.items():
        one.username = user
    async with users_of(uri, **access) as ask:
        for name, users in (("a", ["amy", "bob"]), ("b", ["bob"])):
            new = {"experiment_id": "0", "name": name, "queue_type": "CUSTOM", "users": users}
            assert (await ask("admin", "POST", f"{path}/create", **new)).status == 200
        seen = {}
        for user in access:
            found = (await ask(user, "GET", f"{path}/list", experiment_id="0")).json
            seen[user] = [one["name"] for one in found.get("review_queues", [])]
        assert seen == {"Amy": ["a"], "cy": [], "ed": ["b", "a"], "bob": []}
