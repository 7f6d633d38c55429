"""The `checks` of request fields: every name is one that http/proto.py runs."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import headrace
from headrace.http import proto

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(headrace.__file__).parent
FILES = [
    ROOT / "contract/scalars.py",
    ROOT / "api/nouns.py",
    *sorted(ROOT.glob("api/*/*/types.py")),
]
NAMES = {"required", "not_null", *proto._TYPE_TESTS}
BOUNDS = {"max": 2, "range": 4, "max_len": 3}  # with the length of the tuple


def checks(path: Path) -> Iterator[ast.expr]:
    """The members of every `"checks": (…)` in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "checks":
                    assert isinstance(value, ast.Tuple)
                    yield from value.elts


def is_known(check: ast.expr) -> bool:
    """Whether http/proto.py has such a check."""
    if isinstance(check, ast.Tuple):
        kind = check.elts[0]
        return isinstance(kind, ast.Constant) and BOUNDS.get(kind.value) == len(check.elts)
    assert isinstance(check, ast.Constant)
    return check.value in NAMES or str(check.value).startswith("present:")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_check_is_known(path: Path) -> None:
    """A misspelled check would be a KeyError at the first wrong request, or no check at all."""
    assert [ast.unparse(check) for check in checks(path) if not is_known(check)] == []


def test_checks_are_found() -> None:
    """The search above is not empty."""
    assert sum(len(list(checks(path))) for path in FILES) > 50
