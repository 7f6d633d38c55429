"""The figures of /metrics, for tests that wait until a server has received a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.wire import Wire

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(wire: Wire, prefix: str = "") -> Samples:
    """Every sample of /metrics, by name and sorted labels."""
    answer = wire.ask("GET", f"{prefix}/metrics")
    assert answer.status == 200, str(answer)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def total(wire: Wire, name: str) -> float:
    """The sum of the samples of that name."""
    return sum(value for (found, _), value in samples(wire).items() if found == name)


def requests_in_flight(wire: Wire) -> int:
    """The number of requests that the server has received and not answered, without the one that asks."""
    return int(total(wire, "headrace_requests_in_flight")) - 1
