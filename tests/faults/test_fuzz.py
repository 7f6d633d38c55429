"""No request to a native endpoint causes a 5xx or ends the server."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, get_type_hints
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from tests.faults.fuzzed import FIRST_SEED, Report
from tests.faults.load import JSON, Once

from headrace.api.routes import ROUTES

if TYPE_CHECKING:
    from tests.fix_server import Server
    from tests.wire import Answer

SOAK = [pytest.mark.soak, pytest.mark.timeout(7200)]
PER_ROUND = 1000
Known = dict[str, list[str]]
# Method, path, the fields of its message. Raw routes stream files and pages, and have fields in the query.
RAW_FIELDS = ("run_id", "run_uuid", "path", "name", "version", "artifact_file_path", "metric_key")
ENDPOINTS = [
    (
        route.method,
        route.path,
        RAW_FIELDS if route.raw else get_type_hints(route.handler)["req"].__struct_fields__,
    )
    for route in ROUTES
]
FIELDS = sorted({name for _, _, fields in ENDPOINTS for name in fields})

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.sampled_from(["0", "1", "run-1", "NaN", "metrics.a > 1", "name DESC", "\x00", "\ud800"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


def field_of(name: str, known: Known) -> st.SearchStrategy[Any]:
    """Anything, or something that exists."""
    if name not in known:
        return values
    return st.sampled_from(known[name]) | st.sampled_from(known[name]).map(lambda v: [v]) | values


@st.composite
def requests_of(draw: st.DrawFn, known: Known) -> tuple[str, str, bytes | None]:
    """Method, target and body: known fields with values of any kind."""
    method, path, fields = draw(st.sampled_from(ENDPOINTS))
    text = st.text(max_size=12) | st.sampled_from(known["run_id"] + known["model_id"])
    path = re.sub(r"\{[^}]*\}", lambda _: quote(draw(text), safe="", errors="replace"), path)
    names = draw(st.lists(st.sampled_from([*fields, "none"]), max_size=6, unique=True))
    chosen = {name: draw(field_of(name, known)) for name in names}
    if method in ("GET", "HEAD"):
        pairs = [
            f"{name}={quote(str(one), errors='replace')}"
            for name, value in chosen.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        return method, f"{path}?{'&'.join(pairs)}", None
    body = chosen if draw(st.integers(0, 9)) else draw(values)
    return method, path, json.dumps(body).encode()


@pytest.mark.parametrize("count", [400, pytest.param(100_000, marks=SOAK)])
def test_no_message_is_a_server_error(
    populated_server: tuple[Server, Known], count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fields have generated values or existing ids."""
    running, known = populated_server
    report = Report()

    def send(request: tuple[str, str, bytes | None]) -> None:
        method, target, body = request
        began_s = time.perf_counter()
        answer = ask(method, target, body)
        report.note_answer(answer, f"{method} {target} {body!r}", time.perf_counter() - began_s)

    with Once(running.url) as wire:

        def ask(method: str, target: str, body: bytes | None) -> Answer:
            return wire.ask(method, target, body, headers=JSON)

        for number in range(-(-count // PER_ROUND)):
            examples = settings(
                max_examples=min(count, PER_ROUND),
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            seed(FIRST_SEED + number)(examples(given(requests_of(known))(send)))()
    assert running.process.poll() is None
    with capsys.disabled():
        print(f"\n{report}")  # noqa: T201 what the long run is for
    if count > PER_ROUND:
        report.check_slowest()
