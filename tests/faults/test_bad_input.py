"""Broken requests never cause a 5xx; errors have MLflow's form, and only a 200 has an effect.

Valid requests are damaged at random: values of other types, missing fields, bytes removed, changed or
inserted.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import rows
from tests.compat.dialogue import fill
from tests.compat.dialogues.field_types import GETS, POSTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fix_api import Api
    from tests.fix_server import Server
    from tests.wire import Answer

API = "/api/2.0/mlflow/"
JSON = {"Content-Type": "application/json"}
# The two errors that MLflow gives status 500 on purpose.
MEANT_500 = ("Cannot rename a non-active experiment.", "`order_by` contains duplicate fields")
WRITTEN = (
    "experiments", "experiment_tags", "runs", "metrics", "latest_metrics", "params", "tags",
    "inputs", "input_tags", "datasets", "logged_model_metrics",
)  # fmt: skip
EXAMPLES = settings(
    max_examples=40,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

odd_texts = st.sampled_from(
    ["", " ", "NaN", "nan", "-Infinity", "1.5", "1e400", "\x00", "a\x00b", "../a", "/", "é🚀", "\ud800",
     "'; DROP TABLE runs; --", "%s", "{}", "x" * 300, "9" * 30, "metrics.m > 1", "tags.`a` = 'b", "true"]
)  # fmt: skip
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400])
    | st.floats()
    | st.text(max_size=20)
    | odd_texts
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
ABSENT = "<absent>"


def broken(body: dict[str, Any], fields: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """The body with one to three of its fields replaced or left out."""
    change = st.tuples(st.sampled_from([*fields, "unknown"]), values | st.just(ABSENT))
    return st.lists(change, min_size=1, max_size=3).map(lambda changes: changed(body, changes))


def changed(body: Any, changes: list[tuple[str, Any]]) -> Any:
    for field, value in changes:
        body = replaced(body, field.split("."), value)
    return body


def replaced(body: Any, path: list[str], value: Any) -> Any:
    """The value at the path replaced, as far as an earlier change has left the path there."""
    if isinstance(body, list) and body:
        return [replaced(body[0], path, value), *body[1:]]
    if not isinstance(body, dict):
        return body
    head, *rest = path
    if rest:
        return body | {head: replaced(body[head], rest, value)} if head in body else body
    if value == ABSENT:
        return {k: v for k, v in body.items() if k != head}
    return body | {head: value}


@st.composite
def damaged(draw: st.DrawFn, bodies: st.SearchStrategy[Any]) -> bytes:
    """The bytes of a body; one in three is damaged as bytes, too."""
    body = json.dumps(draw(bodies)).encode()
    how = draw(st.sampled_from(["whole"] * 4 + ["cut", "inserted"]))
    place = draw(st.integers(0, len(body)))
    if how == "cut":
        return body[:place]
    if how == "inserted":
        return body[:place] + draw(st.binary(min_size=1, max_size=6)) + body[place:]
    return body


class Watch:
    """A value that changes with any change of the database."""

    def __init__(self, uri: str) -> None:
        self.connection = rows.connect(uri)
        self.is_sqlite = uri.startswith("sqlite")
        parts = [
            f"(SELECT coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {name} t)"
            for name in WRITTEN
        ]
        self.digests = "SELECT " + ", ".join(parts)

    def __call__(self) -> Any:
        if self.is_sqlite:
            # Changes with every commit of another connection that wrote something.
            return self.connection.execute("PRAGMA data_version").fetchone()
        found = self.connection.execute(self.digests).fetchone()
        self.connection.rollback()
        return found


@pytest.fixture
def watch(api_server: tuple[Server, str]) -> Iterator[Callable[[], Any]]:
    """Reads the server's database directly."""
    found = Watch(api_server[1])
    with closing(found.connection):
        yield found


def check(answer: Answer, before: Any, after: Any) -> None:
    if answer.status == 200:
        return
    body = answer.json() if answer.is_json else {}
    meant = str(body.get("message", "")).startswith(MEANT_500)
    assert answer.status < 500 or meant, answer
    assert body.get("error_code"), answer
    assert isinstance(body.get("message"), str), answer
    assert before == after, f"written although refused: {answer}"


@pytest.mark.parametrize("endpoint", POSTS)
def test_a_broken_body_is_refused_and_leaves_nothing_behind(
    api: Api, watch: Callable[[], Any], endpoint: str
) -> None:
    run = api.run()
    kept = {"run": run.id, "exp": run.experiment_id, "dialogue": f"broken {endpoint}"}
    body, fields = POSTS[endpoint]

    @EXAMPLES
    @given(damaged(broken(fill(body, kept), fields)))
    def try_it(raw: bytes) -> None:
        before = watch()
        answer = api.wire.ask("POST", API + endpoint, raw, JSON)
        check(answer, before, watch())

    try_it()


@pytest.mark.parametrize("endpoint", GETS)
def test_a_broken_query_is_refused(api: Api, watch: Callable[[], Any], endpoint: str) -> None:
    run = api.run()
    good, fields = GETS[endpoint]
    good = fill(good, {"run": run.id, "exp": run.experiment_id})
    texts = st.binary(max_size=12) | leaves.map(lambda v: str(v).encode(errors="surrogatepass"))
    change = st.tuples(st.sampled_from(fields), texts)

    @EXAMPLES
    @given(st.lists(change, min_size=1, max_size=3))
    def try_it(changes: list[tuple[str, bytes]]) -> None:
        pairs = {k: str(v[0] if isinstance(v, list) else v).encode() for k, v in good.items()}
        pairs |= dict(changes)
        query = "&".join(f"{name}={quote(value)}" for name, value in pairs.items())
        before = watch()
        answer = api.wire.ask("GET", f"{API}{endpoint}?{query}")
        check(answer, before, watch())

    try_it()


def test_experiments_made_by_broken_bodies_can_be_read(api: Api) -> None:
    """Accepted values must not break later answers."""
    found = api.ok("experiments/search", max_results=1000, view_type="ALL")["experiments"]
    for experiment in found:
        api.ok("runs/search", experiment_ids=[experiment["experiment_id"]], run_view_type="ALL")
