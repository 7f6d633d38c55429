"""The requirements of a request: what the ids in it belong to, as the handler understands them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from headrace.api.nouns import Tag
from headrace.api.registry.versions.rules import CreatesVersion, filters_by_run
from headrace.api.registry.versions.types import CreateModelVersion, SearchModelVersions
from headrace.api.routes import EXPERIMENT_WITH_CONTENTS, FILE_OF_VERSION, ROUTES
from headrace.auth.authority import Denied
from headrace.auth.decide import Plan
from headrace.auth.owners_sql import JobOwner, Owners, Queue
from headrace.auth.resolve import (
    DEFAULT,
    LONGEST_PLANNED_ID,
    MAX_PLAN_DEMANDS,
    MAX_PLANS,
    Resolver,
    canonical,
    creators,
    named_in_workspace,
    of_path,
    requirements,
)
from headrace.auth.rules import (
    Need,
    Needs,
    Rule,
    artifact,
    create,
    dataset,
    every,
    experiment,
    job,
    logged_model,
    model,
    needs,
    part_of_experiment,
    required,
    run,
    undenied,
    version,
    versions_undenied,
)
from headrace.contract.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.auth.decide import Requirement
    from headrace.auth.rules import Action, Demand

OF_RUN = needs(run("read"))
OF_EXPERIMENT = needs(experiment("read"))
OWNERS = Owners(
    {"r1": "1", "r2": "2"},
    {"m-1": "1"},
    {"tr-1": "1"},
    {"A": "1"},
    {"ma": False, "pa": True},
    {"d-1": ["1", "02"]},
)


def of(rule: Rule, req: Any) -> list[Requirement]:
    return [found for demand in rule.demands(req) for found in requirements(demand, OWNERS, "ann")]


def keys(found: list[Requirement]) -> list[str]:
    return [" or ".join(f"{s.resource_type}/{s.id}.{s.action}" for s in steps) for steps in found]


@pytest.mark.parametrize("text", ["1", "01", " 1", "1 ", "+1", "\u0661", "\uff11", "0_1"])
def test_every_spelling_of_an_experiment_id_is_one_id(text: str) -> None:
    assert canonical(text) == "1"
    found = keys(of(needs(experiment("read")), {"experiment_id": text}))
    assert found == ["experiment/1.read"]


@pytest.mark.parametrize("text", ["", "x", "1.0", "0x1", "1\0", "9" * 5000])
def test_an_id_that_is_no_number_stays_as_it_is(text: str) -> None:
    assert canonical(text) == text


RULES = [
    (needs(dataset("update")), {"dataset_id": "d-1"}, ["experiment/1.update", "experiment/2.update"]),
    (needs(run("update")), {"run_id": "r2"},
     ["experiment/2.read", "run/*.update or experiment/2.update"]),
    (needs(logged_model("delete")), {"model_id": "m-1"},
     ["experiment/1.read", "logged_model/*.delete or experiment/1.delete"]),
    (needs(every("run", "delete", "experiment", "experiment_id")), {"experiment_id": "01"},
     ["run/*.delete or experiment/1.delete"]),
    (needs(undenied("run")), {}, ["run/*.undenied"]),
    (needs(model("read")), {"name": "ma"}, ["registered_model/ma.read"]),
    (needs(model("read")), {"name": "pa"}, ["prompt/pa.read"]),
    (needs(model("read")), {"name": "new"}, ["registered_model/new.read"]),
    (needs(model("read")), {"name": "*"}, ["registered_model/*.read"]),
    (needs(version("update")), {"name": "pa"},
     ["prompt/pa.read", "prompt_version/*.update or prompt/pa.update"]),
    (needs(versions_undenied()), {"name": "ma"}, ["registered_model_version/*.undenied"]),
    (FILE_OF_VERSION, {"name": "pa"},
     ["registered_model/pa.read", "prompt_version/*.undenied or prompt/pa.undenied"]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "req", "expected"), RULES)
def test_the_requirements_of_a_rule(rule: Rule, req: Any, expected: list[str]) -> None:
    assert keys(of(rule, req)) == expected


@pytest.mark.parametrize(
    ("rule", "req"),
    [
        (needs(run("read")), {"run_id": "nope"}),
        (needs(run("read")), {"run_id": "*"}),
        (needs(logged_model("read")), {"model_id": "m-9"}),
        (needs(version("read")), {"name": "new"}),
        (needs(versions_undenied()), {"name": "new"}),
    ],
)
def test_what_does_not_exist_is_denied(rule: Rule, req: Any) -> None:
    with pytest.raises(Denied):
        of(rule, req)


def test_some_routes_tell_what_does_not_exist() -> None:
    rules = {(route.method, route.path.partition("/mlflow/")[2]): route.rule for route in ROUTES}
    with pytest.raises(ApiError, match="Run with id=nope not found"):
        of(rules["GET", "metrics/get-history-bulk"], {"run_id": ["nope"]})
    with pytest.raises(ApiError, match=r"Could not find experiment with name B$"):
        of(rules["GET", "experiments/get-by-name"], {"experiment_name": "B"})
    assert keys(of(rules["GET", "experiments/get-by-name"], {"experiment_name": "A"})) == [
        "experiment/1.read"
    ]


def test_deleting_an_experiment_needs_deleting_all_that_it_contains() -> None:
    found = keys(of(EXPERIMENT_WITH_CONTENTS, {"experiment_id": "1"}))
    assert found[0] == "experiment/1.delete"
    assert [one.partition("/")[0] for one in found[1:]] == [
        "run", "trace", "logged_model", "assessment", "review_queue", "scorer", "scorer_version",
    ]  # fmt: skip
    assert all(one.endswith("/*.delete or experiment/1.delete") for one in found[1:])


RUN = "0123456789abcdef" * 2
PATHS: list[tuple[str, Action, list[str]]] = [
    ("", "read", [f"{DEFAULT}/.read"]),
    ("elsewhere/a.txt", "update", [f"{DEFAULT}/.update"]),
    ("1", "read", ["experiment/1.read"]),
    ("1/notes.txt", "update", ["experiment/1.update"]),
    ("./1//notes.txt", "update", ["experiment/1.update"]),
    ("1/r/artifacts/x", "update", ["experiment/1.read", "run/*.update or experiment/1.update"]),
    (f"1/{RUN}", "read", ["experiment/1.read", "run/*.read or experiment/1.read"]),
    ("1/models/m/x", "read", ["experiment/1.read", "logged_model/*.read or experiment/1.read"]),
    ("1/traces/t/x", "read", ["experiment/1.read", "trace/*.read or experiment/1.read"]),
    ("workspaces/w/1/x", "read", ["experiment/1.read"]),
    ("%2531/x", "read", ["experiment/1.read"]),
    ("1%2Fmodels%2Fm", "read", ["experiment/1.read", "logged_model/*.read or experiment/1.read"]),
    ("1/notes.txt", "manage", ["experiment/1.read", "run/*.manage or experiment/1.manage"]),
    ("1/", "manage", [
        "experiment/1.read",
        *(f"{part}/*.manage or experiment/1.manage" for part in ("run", "trace", "logged_model")),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "action", "expected"), PATHS)
def test_a_path_of_the_artifact_store_belongs_to_what_it_names(
    path: str, action: Action, expected: list[str]
) -> None:
    assert keys(list(of_path(path, action))) == expected


@pytest.mark.parametrize("path", ["../1", "1/%2e%2e/2", "/1", "a#b", "1\n", "C:/x"])
def test_a_path_that_leaves_its_root_is_denied(path: str) -> None:
    with pytest.raises(Denied):
        list(of_path(path, "read"))


SOURCES = [
    ({"source": "s3://b/x"}, []),
    ({"source": "models:/ma/1"}, ["registered_model/ma.read"]),
    ({"source": "models:/pa@best", "run_id": "nope"}, ["prompt/pa.read"]),
    ({"source": "s3://b/x", "run_id": "r2"},
     ["experiment/2.read", "run/*.read or experiment/2.read"]),
    ({"source": "models:/m-1"}, ["experiment/1.read", "logged_model/*.read or experiment/1.read"]),
    ({"source": "x", "tags": [Tag(key="mlflow.prompt.is_prompt", value="TRUE")]},
     ["prompt_version/*.undenied"]),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), SOURCES)
def test_a_new_version_needs_its_source(fields: Any, expected: list[str]) -> None:
    found = keys(of(CreatesVersion(), CreateModelVersion(name="ma", **fields)))
    assert found == [
        "registered_model/ma.update", "registered_model_version/*.undenied", *expected,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "models:/new/1"},
        {"source": "s3://b/x", "run_id": ""},
        {"source": "s3://b/x", "model_id": ""},
        {"source": "s3://b/x", "run_id": "r1", "model_id": "m-9"},
        {"source": "models:/m-9", "model_id": "m-1"},
    ],
)
def test_a_source_that_does_not_exist_is_denied(fields: Any) -> None:
    with pytest.raises(Denied):
        of(CreatesVersion(), CreateModelVersion(name="ma", **fields))


@pytest.mark.parametrize(
    ("text", "found"),
    [(None, False), ("name = 'a'", False), ("tags.run_id = 'x'", False), ("run_id = 'x'", True),
     ("name = 'a' AND run_id IN ('x')", True), ("nonsense", True)],
)  # fmt: skip
def test_a_filter_that_tells_runs_is_recognized(text: str | None, found: bool) -> None:
    assert filters_by_run(SearchModelVersions(filter=text)) is found


def test_the_conditions_of_every_native_route_are_looked_up() -> None:
    """A rule that names another kind of resource needs a place where its owner is found."""
    for route in ROUTES:
        for need in route.rule.needs if isinstance(route.rule, Needs) else ():
            for found in requirements(need.demand(None if need.ids is None else "r1"), OWNERS._replace(
                logged_models={"r1": "1"}, traces={"r1": "1"}, experiment_names={"r1": "1"},
                models={"r1": False}, datasets={"r1": ["1"]}, issues={"r1": "1"}, label_schemas={"r1": "1"},
                jobs={"r1": JobOwner("ann", "1")},
                endpoint_names={"r1": "e-1"}, guardrails={"r1": "1/s"},
                queues={"r1": Queue("1", "custom", "ann", ["bob"])}, online_scorers={"r1": ["1"]},
            ), "bob"):  # fmt: skip
                assert found


def test_a_job_belongs_to_the_user_who_started_it_and_perhaps_to_an_experiment() -> None:
    owners = OWNERS._replace(
        jobs={
            "j-1": JobOwner("ann", "01"),
            "j-2": JobOwner(None, "2"),
            "j-3": JobOwner("bob", None),
        }
    )
    own, (of_experiment,) = job(), needs(part_of_experiment("job", "read", "job_id")).needs
    assert creators([own.demand("j-1"), own.demand("j-3")], owners) == {"ann", "bob"}
    assert not Plan(creators=creators([own.demand("j-1")], owners)).is_own("bob")
    for nobodys in ("j-2", "j-none"):
        with pytest.raises(Denied):
            creators([own.demand(nobodys)], owners)
    (found,) = requirements(of_experiment.demand("j-1"), owners, "ann")
    assert keys([found]) == ["experiment/1.read"]
    for without in ("j-3", "j-none"):
        with pytest.raises(Denied):
            list(requirements(of_experiment.demand(without), owners, "ann"))


def in_team(need: Need, id_: str | None) -> list[str]:
    """The requirements of a condition in the workspace `team`."""
    return keys(list(requirements(need.demand(id_), OWNERS, "ann", "team")))


def test_in_a_workspace_creating_needs_a_grant_on_it() -> None:
    need = create("experiment")
    assert keys(list(requirements(need.demand(None), OWNERS, "ann"))) == []
    assert in_team(need, None) == ["workspace/*.create"]


def test_in_a_workspace_its_grants_decide_about_files_of_no_experiment() -> None:
    assert in_team(artifact("update"), "") == ["workspace/*.update"]
    assert in_team(artifact("update"), "workspaces/team/a") == ["workspace/*.update"]
    in_experiment = ["experiment/3.read", "run/*.update or experiment/3.update"]
    assert in_team(artifact("update"), "workspaces/team/3/r/artifacts/a") == in_experiment
    assert in_team(artifact("update"), "3/r/artifacts/a") == in_experiment


@pytest.mark.parametrize("path", ["workspaces/other/a", "workspaces", "a", "workspaces/team"])
def test_a_location_must_be_in_the_directory_of_the_workspace(path: str) -> None:
    tree = Need("artifact", "read", "path", named="artifact_tree")
    with pytest.raises(Denied):
        in_team(tree, path)
    assert in_team(tree, "workspaces/team/a") == ["workspace/*.read"]


def test_in_a_workspace_a_model_must_exist() -> None:
    assert in_team(model("read"), "ma") == ["registered_model/ma.read"]
    with pytest.raises(Denied):
        in_team(model("read"), "unknown")


@pytest.mark.parametrize(
    ("need", "id_", "named"),
    [
        (experiment("read"), " 07", ("experiment", "7")),
        (every("run", "delete", "experiment", "experiment_id"), "7", ("experiment", "7")),
        (Need("experiment", "undenied", "experiment_id"), "7", None),
        (run("read"), "r1", None),  # one that does not exist is refused anyway
        (artifact("read"), "workspaces/x/7/a", ("experiment", "7")),
        (artifact("read"), "a/7", None),
        (Need("gateway_secret", "use", "secret_id"), "s-1", ("gateway_secret", "s-1")),
        (Need("registered_model", "read", "name", named="model_name"), "m", ("registered_model", "m")),
        (create("experiment"), None, None),
    ],
)  # fmt: skip
def test_what_must_exist_in_the_workspace(
    need: Need, id_: str | None, named: tuple[str, str] | None
) -> None:
    assert named_in_workspace(need.demand(id_)) == named


class Tracking:
    """A tracking database whose read of owners is counted."""

    def __init__(self) -> None:
        self.reads = 0

    async def read_point(self, function: Any, wanted: Any) -> Owners:
        """The owners of everything that is asked for."""
        self.reads += 1
        runs = dict.fromkeys(wanted.runs, "7")
        return Owners(runs, {}, {}, {}, dict.fromkeys(wanted.models, False))


async def plan_of(resolver: Resolver, rule: Rule, req: Any, workspace: str | None = None) -> Plan:
    """The plan of a request, as the authority finds it."""
    ids = rule.ids(req)
    known = None if ids is None else resolver.known(rule, ids, workspace)
    return known or await resolver.plan(tuple(rule.demands(req)), "ann", workspace, rule, ids)


async def test_what_never_changes_is_looked_up_once() -> None:
    tracking = Tracking()
    resolver = Resolver(cast("Any", tracking))
    rule = needs(run("update"), undenied("trace"))
    found = [await plan_of(resolver, rule, {"run_id": "r1"}) for _ in range(3)]
    assert keys(list(found[0].requirements)) == [
        "experiment/7.read",
        "run/*.update or experiment/7.update",
        "trace/*.undenied",
    ]
    assert found == [found[0]] * 3
    assert tracking.reads == 1
    assert await plan_of(resolver, rule, {"run_id": "r2"}) is not found[0]
    assert await plan_of(resolver, needs(run("read")), {"run_id": "r1"}) is not found[0]


async def test_what_may_change_is_looked_up_again() -> None:
    tracking = Tracking()
    resolver = Resolver(cast("Any", tracking))
    rule = needs(model("read"))
    for n in range(3):
        await plan_of(resolver, rule, {"name": "ma"})
        assert tracking.reads == n + 1


async def test_ids_that_clients_choose_do_not_fill_memory() -> None:
    resolver = Resolver(cast("Any", Tracking()))
    for n in range(MAX_PLANS + 100):
        await plan_of(resolver, OF_RUN, {"run_id": f"r{n}"})
        long = {"experiment_id": "1" * (LONGEST_PLANNED_ID + 1) + str(n)}
        await plan_of(resolver, OF_EXPERIMENT, long)
    assert len(resolver._plans) == MAX_PLANS
    many = {"run_ids": [f"r{n}" for n in range(MAX_PLAN_DEMANDS + 1)]}
    before = set(resolver._plans)
    await plan_of(resolver, needs(run("read", "run_ids[]")), many)
    assert set(resolver._plans) == before


def test_only_a_rule_that_is_a_list_of_conditions_knows_what_they_depend_on() -> None:
    """A subclass with conditions of its own would otherwise get those of another request."""

    class Own(Needs):
        def demands(self, *sources: Any) -> Iterator[Demand]:
            yield from super().demands(*sources)
            yield run("update").demand(sources[0]["other"])

    assert Own(run("read")).ids({"run_id": "r1", "other": "r2"}) is None
    assert OF_RUN.ids({"run_id": "r1"}) == (("r1",),)
    assert OF_RUN.ids({"run_uuid": "r1"}) == OF_RUN.ids({"run_id": "r1", "run_uuid": "r2"})
    conditional = needs(undenied("run", when=bool))
    assert conditional.ids({}) != conditional.ids({"a": 1})
    # The first condition refuses the request; the second would fail.
    second = undenied("run", when=lambda req: bool(req["trace"]["info"]))
    assert needs(required(experiment("update")), second).ids({}) is None
    assert needs(run("read"), second).ids({}) is None
    for route in ROUTES:
        rule = route.rule
        is_list = type(rule).demands in (Needs.demands, Rule.demands)
        assert is_list or rule.ids({}) is None, route.path
