"""headrace and stock MLflow serve traces of one database in turn and leave the same rows as stock alone."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from tests.compat.test_traces_same_rows import TABLES, asks, plain
from tests.faults.load import Once
from tests.faults.stored import rows
from tests.faults.test_alternation import uris
from tests.faults.trace_load import check, start
from tests.fix_server import headrace, stock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.trace_load import TraceWriter
    from tests.fix_server import Server

__all__ = ["uris"]  # a fixture
SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
CLIENTS, SHARED = 3, 8  # of the load in every turn
REQUESTS = 60  # of the story in every turn
KNOWN = "tr-" + "0" * 28  # the beginning of the ids of the story's traces
RETRIED = {429, 503}
# Stock reads the price of a model from the internet.
ENVIRONMENT = {"MLFLOW_MODEL_CATALOG_URI": ""}


def send_turn(server: Server, turn: int) -> None:
    """One turn of the story: spans, information, tags and assessments of the same twelve traces."""
    with Once(server.url) as wire:
        story = asks(random.Random(turn), f"turn-{turn}-")[:REQUESTS]
        answers = [wire.ask(m, path, body, headers=headers) for m, path, body, headers in story]
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) > REQUESTS * 0.6, statuses
    assert not RETRIED & set(statuses)


@pytest.mark.timeout(900)  # starts of real servers, some of them stock MLflow
@pytest.mark.parametrize(
    ("kind", "turns", "first"),
    [
        ("sqlite", 3, "headrace"),
        pytest.param("sqlite", 11, "headrace", marks=SOAK),  # ten alternations
        pytest.param("sqlite", 11, "stock", marks=SOAK),
        pytest.param("postgres", 11, "headrace", marks=SOAK),
        pytest.param("postgres", 11, "stock", marks=SOAK),
    ],
)
def test_rows_of_traces_after_turns_of_both_are_those_of_one(
    uris: tuple[str, str], turns: int, first: str, tmp_path: Path
) -> None:
    """Other clients send traces meanwhile; every acknowledged trace exists at the end."""
    both, alone = uris
    order = (headrace, stock) if first == "headrace" else (stock, headrace)
    writers: list[TraceWriter] = []
    shared: list[str] = []
    for turn in range(turns):
        with order[turn % 2](both, tmp_path, environment=ENVIRONMENT) as server:
            traces, some = start(CLIENTS, server.url, SHARED, "")
            try:
                send_turn(server, turn)
            finally:
                for writer in some:
                    writer.stop()
            shared += traces
            writers += some
    with stock(alone, tmp_path, environment=ENVIRONMENT) as server:
        for turn in range(turns):
            send_turn(server, turn)
    for table, query in TABLES.items():
        ours, theirs = (
            [row for row in plain(table, rows(uri, query)) if any(of_story(v) for v in row)]
            for uri in (both, alone)
        )
        assert ours or table == "links", table
        assert ours == theirs, table
    check(both, shared, "", writers, with_sums=False)


def of_story(value: object) -> bool:
    """Whether a value is the id of one of the story's traces."""
    return isinstance(value, str) and value.startswith(KNOWN)
