"""The prose of the repository is plain English, as far as a list of constructions can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scripts import wording

if TYPE_CHECKING:
    from pathlib import Path


def test_the_prose_has_no_banned_construction(root: Path) -> None:
    """`make lint` prints the places."""
    found = [
        f"{one.name}:{one.line}: {one.text!r}: {one.better}"
        for path in wording.files()
        for one in wording.found_in(path.relative_to(root).as_posix(), path.read_text())
    ]
    assert not found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/a.md", "The server stops. What is lost stands there\ntoo, and why.\n"),
        ("docs/a.md", "- One item.\n- The client is told\n  when to retry.\n"),
        ("docs/a.md", "| case | result |\n|---|---|\n| a | reads go on |\n"),
        ("src/a.py", '"""A module.\n\nNobody is left who could use it.\n"""\n'),
        ("src/a.py", "x = 1  # measured by turns\n"),
        ("src/a.py", "# measured by\n# turns\nx = 1\n"),
        ("src/a.py", 'raise ValueError("the file is closed for good")\n'),
        ("src/a.py", "class Tally:\n    pass\n"),
        ("docs/a.md", "It speaks HTTP.\n"),
        ("docs/a.md", "Every insert pays for the index.\n"),
        ("deploy/a.yaml", "# in order to start\na: 1\n"),
    ],
)
def test_a_banned_construction_is_found(name: str, text: str) -> None:
    assert list(wording.found_in(name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/a.md", "What is a run? Who may read it?\n\n## What to watch\n\n    who told you\n"),
        ("docs/a.md", "The field `told` is a text.\n\n```python\ntold = 1\n```\n"),
        ("src/a.py", 'NAME = "told"\n'),
        ("tests/a.py", 'LOG = "the clients are told to come again"\n'),
        ("tests/a.py", '"""Writers that continue."""\n'),
    ],
)
def test_other_texts_are_not(name: str, text: str) -> None:
    assert not list(wording.found_in(name, text))
