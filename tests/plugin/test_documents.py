"""The examples of the how-to run, each in a separate process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.plugin.conftest import ROOT, output

import headrace
from headrace.db import errors

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs/howto/python-api.md").read_text(), re.M | re.S
)


ERRORS = (ROOT / "docs/reference/errors.md").read_text()
(CAUGHT,) = re.findall(r"^```python\n(.*?)^```", ERRORS, re.M | re.S)


@pytest.mark.parametrize("example", [*EXAMPLES, CAUGHT], ids=["enable", "connect", "errors"])
def test_an_example_runs(script: Callable[..., subprocess.Popen[str]], example: str) -> None:
    output(script(example, headrace="0"))


def test_every_error_is_in_the_reference() -> None:
    public = {getattr(headrace, name) for name in headrace.__all__ if name[0].isupper()}
    kinds = {kind for kind in public if issubclass(kind, headrace.Error)}
    assert len(kinds) == 5
    database = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    expected = {f"headrace.{kind.__name__}" for kind in kinds} | (database - {"Error", "Counter"})
    internal = {"DatabaseError", "NotNew", "NeedsTransaction"}  # never reach a caller
    assert {name for name in expected - internal if f"`{name}`" not in ERRORS} == set()


def test_connect_needs_no_mlflow(script: Callable[..., subprocess.Popen[str]]) -> None:
    block = "import sys\nsys.modules['mlflow'] = sys.modules['sqlalchemy'] = None\n"
    output(script(block + EXAMPLES[1], headrace="0"))
