"""The Python examples in the documents run unchanged against a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import ROOT, STOCK_ENVIRONMENT, base_environment, headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "http://127.0.0.1:5000"
LIMIT_S = 110


def examples(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def run_examples(page: str, url: str, directory: Path) -> str:
    """Run the blocks of a page, each in a process of its own; return what they print."""
    blocks = examples(page)
    assert blocks
    printed = ""
    for block in blocks:
        assert ADDRESS in block
        done = subprocess.run(
            [sys.executable, "-c", block.replace(ADDRESS, url)],
            cwd=directory,
            env=base_environment() | STOCK_ENVIRONMENT,
            timeout=LIMIT_S,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        printed += done.stdout
    return printed


@pytest.mark.parametrize(
    ("page", "last_line"),
    [
        ("README.md", ".*View experiment at: http.*"),
        ("docs/tutorial.md", r"rate \S+ 0\.0\d+"),
        ("docs/howto/traces.md", r"tr-\w+ OK 2"),
    ],
)
def test_the_examples_run(page: str, last_line: str, tmp_path: Path) -> None:
    """They finish their runs, and print what they found."""
    with headrace("sqlite:///mlflow.db", tmp_path) as server:
        printed = run_examples(page, server.url, tmp_path)
        with Wire(server.url) as wire:
            found = wire.ask(
                "POST",
                "/api/2.0/mlflow/runs/search",
                b'{"experiment_ids": ["1"]}',
                {"Content-Type": "application/json"},
            ).json()
    lines = printed.splitlines() or [""]
    assert re.fullmatch(last_line, lines[-1])
    assert {run["info"]["status"] for run in found.get("runs", [])} <= {"FINISHED"}
    assert bool(found.get("runs")) == (page != "docs/howto/traces.md")
