"""The examples of the how-to run, each in a separate process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.plugin.conftest import ROOT, output

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs/howto/python-api.md").read_text(), re.M | re.S
)


@pytest.mark.parametrize("example", EXAMPLES, ids=["enable", "connect"])
def test_an_example_runs(script: Callable[..., subprocess.Popen[str]], example: str) -> None:
    output(script(example, headrace="0"))


def test_connect_needs_no_mlflow(script: Callable[..., subprocess.Popen[str]]) -> None:
    block = "import sys\nsys.modules['mlflow'] = sys.modules['sqlalchemy'] = None\n"
    output(script(block + EXAMPLES[1], headrace="0"))
