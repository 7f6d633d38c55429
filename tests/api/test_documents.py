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


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_examples_run(page: str, tmp_path: Path) -> None:
    """And create a finished run."""
    blocks = examples(page)
    assert blocks
    with headrace("sqlite:///mlflow.db", tmp_path) as server:
        for block in blocks:
            assert ADDRESS in block
            subprocess.run(
                [sys.executable, "-c", block.replace(ADDRESS, server.url)],
                cwd=tmp_path,
                env=base_environment() | STOCK_ENVIRONMENT,
                timeout=LIMIT_S,
                check=True,
            )
        with Wire(server.url) as wire:
            found = wire.ask(
                "POST",
                "/api/2.0/mlflow/runs/search",
                b'{"experiment_ids": ["1"]}',
                {"Content-Type": "application/json"},
            ).json()
    assert [run["info"]["status"] for run in found["runs"]] == ["FINISHED"]
