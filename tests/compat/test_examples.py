"""headrace gives the recorded answers of a stock server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.compat.examples import Example, Replay, load
from tests.compat.overrides import OTHER_METRICS, RULES
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.compat
# Stock repeats its driver's message about a foreign key; headrace looks the model up and names the missing one.
SAID_BY_US = {195: "$.message: \"Logged model with ID 'm-nope' not found.\" instead of"}

# Filters with OR, which only headrace accepts.
NEWER_FILTERS = {46, 154}
# Areas whose routes are native.
NATIVE_AREAS = ("general", "tracking-core", "logged-models", "model-registry")
EXAMPLES = load(NATIVE_AREAS)


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Example], list[str]]:
    """Plays every example once, in order, and records the faults of each answer."""
    directory = tmp_path_factory.mktemp("examples")
    found: dict[int, list[str]] = {}
    with (
        headrace(
            f"sqlite:///{directory}/mlflow.db", directory, "--chart-sampling", "stock"
        ) as server,
        Wire(server.url) as wire,
    ):
        replay = Replay(wire, OTHER_METRICS)
        for example in EXAMPLES:
            recorded, ours, differences = replay.play(example)
            if differences and any(rule.applies(recorded) for rule in RULES.values()):
                refused = ours.answer.status in (400, 404) and ours.answer.is_json
                differences = [] if refused else [f"should be refused: {ours.answer}"]
            if example.number in SAID_BY_US and len(differences) == 1:
                differences = [] if SAID_BY_US[example.number] in differences[0] else differences
            if example.number in NEWER_FILTERS:
                assert recorded.answer.status == 400, example
                differences = [] if ours.answer.status == 200 else [f"a filter: {ours.answer}"]
            found[example.number] = differences
    return lambda example: found[example.number]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_a_recorded_answer_is_given_again(
    example: Example, complaints: Callable[[Example], list[str]]
) -> None:
    found = complaints(example)
    assert not found, "\n".join(found)
