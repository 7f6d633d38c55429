"""A history that SQLite writes as JSON is the one that is made of its rows."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.fill import fill

from headrace.api.results import Encoded, encode
from headrace.api.tracking.metrics import sql, text_sql
from headrace.api.tracking.metrics.handlers import get_history
from headrace.api.tracking.metrics.types import GetHistory
from headrace.auth.foreign import RequestIds
from headrace.contract.steps import integer
from headrace.db.open import open_database
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from headrace.db.base import Database

RUN = "0" * 32
LARGEST = text_sql.LARGEST
DICE = random.Random(3)
Points = list[tuple[Any, Any, Any, Any]]  # value, timestamp, step, is_nan
ORDINARY: Points = [
    (DICE.choice((DICE.gauss(0, 1), DICE.gauss(0, 1) * 10.0 ** DICE.randint(-30, 30), float(n), 0.1)),
     DICE.randrange(500), DICE.randrange(-100, 100), 0)
    for n in range(2_000)
]  # fmt: skip
WRITTEN: dict[str, Points] = {
    "ordinary": ORDINARY,
    "with NaN": [*ORDINARY[:50], (0.0, 5, 5, 1), (0.0, 5, 5, 0), (0.0, -5, 6, 1)],
    'a "key" of ünïcode, %s and \\': ORDINARY[:20],
    "one": [(1.0, 2, 3, 0)],
    "the extremes of integers": [(1.0, 2**63 - 1, -(2**63), 0), (2.0, 0, 2**63 - 1, 0)],
    "very small and very large": [(5e-324, 1, 1, 0), (-1.7e-305, 2, 2, 0), (LARGEST, 3, 3, 0)],
    "fractions as steps": [(1.0, 1, 1.5, 0), (2.0, 2, -2.75, 0), (3.0, 3, 1e300, 0)],
}
LEFT: dict[str, Points] = {
    "none": [],
    "too many": ORDINARY + [(1.0, n, n, 0) for n in range(200)],
    "an infinity": [*ORDINARY[:9], (float("inf"), 1, 1, 0)],
    "the other infinity": [*ORDINARY[:9], (float("-inf"), 1, 1, 0)],
    "beyond what is exact": [*ORDINARY[:9], (1.0027405232642e242, 1, 1, 0)],
    "a text as value": [*ORDINARY[:9], ("abc", 1, 1, 0)],
    "a blob as value": [*ORDINARY[:9], (b"12", 1, 1, 0)],
    "a text as step": [*ORDINARY[:9], (1.0, 1, "abc", 0)],
    "a blob as step": [*ORDINARY[:9], (1.0, 1, b"12", 0)],
    "a text as time": [*ORDINARY[:9], (1.0, "abc", 1, 0)],
    "a blob as time": [*ORDINARY[:9], (1.0, b"12", 1, 0)],
}


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """A SQLite file with these histories, each under the key that is its name."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    opened = await open_database(Settings(backend_store_uri=uri))
    fill(uri, "runs", "run_uuid, experiment_id", [(RUN, 0)])
    rows = [
        (RUN, key, *point)
        for key, points in (WRITTEN | LEFT).items()
        for point in dict.fromkeys(points)
    ]
    fill(uri, "metrics", "run_uuid, key, value, timestamp, step, is_nan", rows)
    yield opened
    await opened.close()


async def text_of(db: Database, key: str) -> str | None:
    """The points as SQLite writes them."""
    begin = '{"key":' + json.dumps(key) + ',"value":'
    return await db.read(text_sql.points, RUN, key, len(ORDINARY), begin)


@pytest.mark.parametrize("key", WRITTEN)
async def test_the_text_has_the_points_of_the_rows(db: Database, key: str) -> None:
    """In their order, with every digit of their values."""
    text = await text_of(db, key)
    assert text is not None
    rows = await db.read(sql.page, RUN, key, 10_000, 0)
    expected = [
        {
            "key": key,
            "value": "NaN" if is_nan else value,
            "timestamp": timestamp,
            "step": integer(step),
        }
        for value, timestamp, step, is_nan in rows
    ]
    assert json.loads(f"[{text}]") == expected


@pytest.mark.parametrize("key", WRITTEN | LEFT)
async def test_the_answer_is_the_same_with_and_without_the_text(
    db: Database, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the route: whole, and as a first page."""
    context: Any = SimpleNamespace(db=db, request_ids=lambda: RequestIds(None, "default"))
    for limit in (None, 5, 25_000):
        answers = []
        for exact in (True, False):
            monkeypatch.setattr(text_sql, "writes_exactly", lambda exact=exact: exact)
            asked = GetHistory(run_id=RUN, metric_key=key, max_results=limit)
            answer = await get_history(asked, context)
            body = answer.body if isinstance(answer, Encoded) else encode(answer)
            answers.append(json.loads(body))
        assert answers[0] == answers[1]


@pytest.mark.parametrize("key", LEFT)
async def test_what_sqlite_does_not_write_as_json_is_left_to_the_rows(
    db: Database, key: str
) -> None:
    assert await text_of(db, key) is None


async def test_the_library_is_tried_before_it_writes() -> None:
    """An inexact one is found out; the answer is the same in this process."""
    assert text_sql.writes_exactly() is text_sql.writes_exactly()
