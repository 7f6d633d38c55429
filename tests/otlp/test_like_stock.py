"""Decoded and translated spans are those of the installed mlflow package."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from tests.otlp import messages

from headrace.otlp import batch, protobuf, values
from headrace.otlp.batch import Batch, NotASpan, Resource
from headrace.otlp.prices import Prices


@pytest.fixture(scope="module", autouse=True)
def _no_internet() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_MODEL_CATALOG_URI", "")
        yield


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices.load()


def stored(body: bytes, prices: Prices | None = None) -> list[str]:
    """The stored form of each span, in the order of the request."""
    found = Batch(prices)
    for attributes, places in protobuf.resources(body):
        resource = Resource(attributes)
        for at, end in places:
            with contextlib.suppress(NotASpan):
                found.add(protobuf.read_span(body, at, end), resource)
    texts = [row[8] for trace in found.traces.values() for row in trace.rows.values()]
    return [values.decoded(text) for text in texts]


def contents(body: bytes, prices: Prices | None) -> list[dict[str, Any]]:
    """The JSON of each stored span."""
    return [json.loads(text) for text in stored(body, prices)]


def test_long_spans_are_written_like_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [messages.request(random.Random(seed)).SerializeToString() for seed in range(60)]
    found = [stored(body) for body in bodies]
    monkeypatch.setattr(batch, "LONG", 0)
    monkeypatch.setattr(values, "LONG", 3)
    assert [stored(body) for body in bodies] == found
    assert sum(map(len, found)) > 60


@pytest.mark.parametrize("seed", range(20))
def test_stored_spans_are_those_of_the_package(seed: int, prices: Prices) -> None:
    rng = random.Random(seed)
    compared = 0
    for _ in range(50):
        request = messages.request(rng)
        service = request.resource_spans[0].resource.attributes
        known = bool(service) and service[0].value.string_value == "claude-code"
        if known:  # added by the route, not by the package's translation
            del request.resource_spans[0].resource.attributes[:]
        body = request.SerializeToString()
        expected = messages.stock_contents(body)
        if expected is None:
            continue
        actual = contents(body, prices)
        assert json.dumps(actual) == json.dumps(expected)
        compared += 1
    assert compared > 30
