"""A page of a search shows each run as runs/get does, whatever was logged to it.

On PostgreSQL both read the data in different forms: a page as joined texts, one run as arrays.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.fix_api import Api

# The delimiters of the joined texts, and everything that JSON escapes or that is longer in UTF-8.
STRANGE = (
    "",
    "a",
    'quote " and \\ backslash',
    "line\nbreak\ttab\r",
    "\x01\x1a\x7f",
    "Zürich 北京 🏃",
    "NaN",
    '","value":"',
    '"},{"key":"',
)
DELIMITERS = ("\x1c", "\x1d", "\x1e", "\x1f", "a\x1fb\x1ec\x1cd\x1d")
LENGTHS = (799, 800, 801, 6000)
NUMBERS = (
    0.0, -0.0, 1.0, -7.0, 0.1, 1 / 3, 1e-7, 1e15, 999_999_999_999_999.0, 1e16, 2.0**53 + 2,
    1.7976931348623157e308, 5e-324, -1e300, 123_456_789.125,
)  # fmt: skip


def page(api: Api, experiment_id: str, most: int = 100) -> list[dict[str, Any]]:
    """The runs of a search, in the order of their creation."""
    order = ["attributes.start_time ASC"]
    found = api.ok("runs/search", experiment_ids=[experiment_id], order_by=order, max_results=most)
    return list(found["runs"])


def check(api: Api, experiment_id: str) -> list[dict[str, Any]]:
    """Compare each run of a page with runs/get."""
    runs = page(api, experiment_id)
    for run in runs:
        assert run == api.ok("runs/get", run_id=run["info"]["run_id"])["run"]
    return runs


def test_a_page_shows_runs_with_strange_texts_and_numbers(api: Api) -> None:
    experiment = api.experiment().id
    plain = api.run(experiment, start_time=1, tags=[{"key": "a", "value": "b"}])
    strange = api.run(experiment, start_time=2)
    texts = [*STRANGE, *("x" * length for length in LENGTHS), "ü" * 500]
    pairs = [{"key": f"k{n:02}", "value": text} for n, text in enumerate(texts)]
    api.ok("runs/log-batch", run_id=strange.id, params=pairs, tags=pairs)
    numbers = api.run(experiment, start_time=3)
    metrics = [
        {"key": f"m {n:02}/ü", "value": value, "timestamp": n, "step": -n}
        for n, value in enumerate([*NUMBERS, "NaN", "Infinity", "-Infinity"])
    ]
    api.ok("runs/log-batch", run_id=numbers.id, metrics=metrics)
    api.run(experiment, start_time=4)
    runs = check(api, experiment)
    assert [run["info"]["run_id"] for run in runs][:3] == [plain.id, strange.id, numbers.id]
    assert [one["value"] for one in runs[1]["data"]["params"]] == texts
    values = [one["value"] for one in runs[2]["data"]["metrics"]]
    assert values[: len(NUMBERS)] == list(NUMBERS)
    assert all(isinstance(value, float) for value in values[: len(NUMBERS)])
    assert values[len(NUMBERS) :] == ["NaN", 1.7976931348623157e308, -1.7976931348623157e308]


@pytest.mark.parametrize("number", range(len(DELIMITERS)))
def test_a_page_shows_runs_whose_texts_contain_the_delimiters(number: int, api: Api) -> None:
    experiment = api.experiment().id
    text = DELIMITERS[number]
    for time, tags in enumerate(([("a", text)], [("a", "b"), ("c", f"{text}{text}")], [])):
        run = api.run(experiment, start_time=time + 1)
        for key, value in tags:
            api.ok("runs/set-tag", run_id=run.id, key=key, value=value)
    shown = check(api, experiment)
    assert [tag["value"] for tag in shown[0]["data"]["tags"] if tag["key"] == "a"] == [text]


def test_a_page_shows_a_run_with_more_items_than_are_joined(api: Api) -> None:
    experiment = api.experiment().id
    for time, count in enumerate((199, 200, 201, 700)):
        run = api.run(experiment, start_time=time + 1)
        metrics = [
            {"key": f"m{n}", "value": n + 0.5, "timestamp": n, "step": n} for n in range(count)
        ]
        api.ok("runs/log-batch", run_id=run.id, metrics=metrics)
        assert len(check(api, experiment)[-1]["data"]["metrics"]) == count


def test_a_page_of_more_runs_than_one_read_holds_is_complete(api: Api) -> None:
    experiment = api.experiment().id
    for time in range(230):
        api.run(experiment, start_time=time + 1, tags=[{"key": "n", "value": str(time)}])
    runs = page(api, experiment, 1000)
    tags = [[tag["value"] for tag in run["data"]["tags"] if tag["key"] == "n"] for run in runs]
    assert tags == [[str(time)] for time in range(230)]


def test_a_page_shows_rows_that_no_client_could_log(api: Api) -> None:
    """Tools that write to the database may store a tag without a value, or an infinite number."""
    experiment = api.experiment().id
    run = api.run(experiment, start_time=1)
    other = api.run(experiment, start_time=2)
    infinite = "9e999" if api.uri.startswith("sqlite") else "'Infinity'"
    columns = "latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
    run_sql(
        api.uri,
        f"INSERT INTO tags (key, value, run_uuid) VALUES ('empty', NULL, '{run.id}')",
        f"INSERT INTO {columns} VALUES ('quote \" \\', 1, 1, 1, false, '{run.id}')",
        f"INSERT INTO {columns} VALUES ('infinite', {infinite}, 1, 1, false, '{other.id}')",
    )
    check(api, experiment)


def run_sql(uri: str, *statements: str) -> None:
    """Statements in one transaction."""
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(uri).path[1:], timeout=30)) as file, file:
            for sql in statements:
                file.execute(sql)
        return
    with psycopg.connect(uri) as connection:
        for sql in statements:
            connection.execute(sql.encode())
