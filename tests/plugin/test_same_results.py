"""The client's results are equal with headrace off and on: values, entities, exceptions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_database import empty_database
from tests.plugin.conftest import ROOT, SCRIPT_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# Calls that behave as in MLflow 3, also under mlflow 2, and the difference.
NEWER_RULES = {
    "by alias 'latest'": "the newest version; mlflow 2 refused the name",
    "by lost alias": "an alias goes with its version; mlflow 2 left it behind",
    "next models": "as above",
    "where params.P IS NULL": "IS NULL and IS NOT NULL; mlflow 2 knew neither",
    "where tags.none IS NOT NULL": "as above",
}
# Calls on traces with another result than MLflow's.
TRACE_DIFFERENCES = {
    "then the trace": "the answer has the new tags; MLflow's lacks those that it has just stored",
    "again": "an assessment that is stored already is no error",
}


@pytest.fixture
def uris(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[str, str]]:
    """Two empty databases of the kind under test."""
    with (
        empty_database(database, request, tmp_path, "off") as off,
        empty_database(database, request, tmp_path, "on") as on,
    ):
        yield off, on


def played(
    python: str, uris: tuple[str, str], paths: list[str], module: str = "calls"
) -> list[list[Any]]:
    """Outcomes of a module of tests/plugin with headrace off and on, side by side."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    started = [
        subprocess.Popen(
            [python, "-m", f"tests.plugin.{module}", uri, switch],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for uri, switch in zip(uris, ("off", "on"), strict=True)
    ]
    outcomes = []
    try:
        for process in started:
            out, err = process.communicate(timeout=2 * SCRIPT_TIMEOUT_S)
            assert process.returncode == 0, err.decode()[-3000:]
            outcomes.append(json.loads(out))
    finally:
        for process in started:
            process.kill()
    return outcomes


@pytest.mark.timeout(300)
def test_every_call_gives_the_same(uris: tuple[str, str]) -> None:
    off, on = played(sys.executable, uris, [str(ROOT / "src"), str(ROOT)])
    assert len(on) > 300
    assert on == off


@pytest.mark.timeout(300)
def test_every_call_on_traces_gives_the_same_and_leaves_the_same_rows(
    uris: tuple[str, str],
) -> None:
    paths = [str(ROOT / "src"), str(ROOT)]
    off, on = played(sys.executable, uris, paths, "trace_calls")
    assert len(on) > 150
    pairs = [pair for pair in zip(off, on, strict=True) if pair[0] != pair[1]]
    assert {stock[0] for stock, _ in pairs} == set(TRACE_DIFFERENCES), pairs


@pytest.mark.clients
@pytest.mark.timeout(300)
def test_every_call_gives_the_same_with_mlflow_2(
    uris: tuple[str, str], mlflow2: tuple[str, list[str]]
) -> None:
    off, on = played(mlflow2[0], uris, mlflow2[1])
    pairs = [pair for pair in zip(off, on, strict=True) if pair[0] != pair[1]]
    assert {stock[0] for stock, _ in pairs} == set(NEWER_RULES), pairs
