"""The requirements of rules of review queues and scorers, which depend on the user."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from headrace.auth.authority import Denied
from headrace.auth.owners_sql import Owners, Queue
from headrace.auth.resolve import requirements
from headrace.auth.review_rules import OPENS_NAMED_QUEUE, review_queue, scorer, scorer_version
from headrace.auth.rules import Need, needs
from headrace.contract.errors import ApiError

if TYPE_CHECKING:
    from headrace.auth.rules import Action

CUSTOM = Queue("1", "custom", "Ann", ["bob"])
OWNERS = Owners(
    {},
    {},
    {},
    {},
    {},
    queues={"rq-1": CUSTOM, "rq-ann": Queue("1", "user", "ann", ["ann"]), "1/mine": CUSTOM},
    online_scorers={"s-1": ["1", "2"]},
)


def found(need: Need, user: str, **fields: Any) -> list[str]:
    req = SimpleNamespace(**fields)
    chains = [
        steps for demand in needs(need).demands(req) for steps in requirements(demand, OWNERS, user)
    ]
    return [" or ".join(f"{s.resource_type}/{s.id}.{s.action}" for s in steps) for steps in chains]


@pytest.mark.parametrize(
    ("action", "queue_id", "levels"),
    [
        # of the owner, of a member, of somebody else
        ("open", "rq-1", ["update", "read", "manage"]),
        ("configure", "rq-1", ["update", "manage", "manage"]),
        ("prune", "rq-1", ["update", "manage", "manage"]),
        ("review", "rq-1", [None, "update", None]),
        ("update", "rq-1", ["update", "update", "update"]),
        ("manage", "rq-1", ["manage", "manage", "manage"]),
        ("open", "rq-ann", ["read", "manage", "manage"]),
        ("prune", "rq-ann", ["manage", "manage", "manage"]),
    ],
)
def test_owners_and_members_of_a_queue_need_less(
    action: Action, queue_id: str, levels: list[str | None]
) -> None:
    for user, level in zip((" ANN", "Bob", "cy"), levels, strict=True):
        if level is None:
            with pytest.raises(Denied):
                found(review_queue(action), user, queue_id=queue_id)
        else:
            assert found(review_queue(action), user, queue_id=queue_id) == [
                "experiment/1.read",
                f"review_queue/*.{level} or experiment/1.{level}",
            ]


def test_a_queue_that_does_not_exist_is_told() -> None:
    with pytest.raises(ApiError, match="Review queue with id 'rq-2' not found"):
        found(review_queue("open"), "ann", queue_id="rq-2")


@pytest.mark.parametrize(("name", "level"), [("MINE", "update"), ("none", "read")])
def test_a_queue_is_found_by_its_name(name: str, level: str) -> None:
    assert found(OPENS_NAMED_QUEUE, "ann", experiment_id="01", name=name) == [
        "experiment/1.read",
        f"review_queue/*.{level} or experiment/1.{level}",
    ]


def test_a_scorer_is_judged_by_its_own_grants() -> None:
    named = {"experiment_id": " 1", "name": "a/b"}
    assert found(scorer("read"), "ann", **named) == ["scorer/1/a%2Fb.read"]
    assert found(scorer_version("delete"), "ann", **named) == [
        "scorer_version/*.delete or scorer/1/a%2Fb.delete"
    ]


def test_online_configurations_belong_to_the_experiments_of_their_traces() -> None:
    need = Need("experiment", "read", "scorer_ids[]", named="online_scorer")
    assert found(need, "ann", scorer_ids=["s-1", "s-2"]) == [
        "experiment/1.read",
        "experiment/2.read",
    ]
