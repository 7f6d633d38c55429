"""Files and modules that the documents mention exist."""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import TYPE_CHECKING, Final

import pytest
from tests.repo.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS: Final = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks/README.md"]
)
URL: Final = re.compile(r"\w+://\S+")
# A star or a word in angle brackets matches any name: `api/<resource>/sql.py`.
FILE: Final = re.compile(r"(?<![\w/.>*-])((?:[\w.<>*-]+/)*[\w<>*-]+\.(?:py|js|c|md))(?![\w/.])")
FOLDER: Final = re.compile(r"`((?:[\w<>*-]+/)+)`")
MODULE: Final = re.compile(
    r"(?<![\w/.-])((?:headrace|tests|benchmarks)(?:\.[A-Za-z_]\w*)+)(?![\w/])"
)
# Files of MLflow, not of this repository.
FOREIGN: Final = frozenset({"mlartifacts/", "mlruns/"})
OURS: Final = ("src", "tests", "benchmarks", "docs")


def exists(name: str, page: Path) -> bool:
    """Whether a path exists below a folder that documents use as a base; a bare name may be anywhere."""
    pattern = re.sub(r"<\w+>", "*", name)
    if "/" in pattern:
        folders = (page.parent, ROOT, ROOT / "src/headrace", ROOT / "tests")
        return any(next(folder.glob(pattern), None) is not None for folder in folders)
    here = any(next(folder.glob(pattern), None) is not None for folder in (page.parent, ROOT))
    return here or any(next((ROOT / top).rglob(pattern), None) is not None for top in OURS)


def resolves(name: str) -> bool:
    """Whether a dotted name is a module or an attribute of one."""
    module, *rest = name.split(".")
    found = importlib.import_module(module)
    for position, part in enumerate(rest):
        path = f"{module}.{'.'.join(rest[: position + 1])}"
        if hasattr(found, part):
            found = getattr(found, part)
        elif hasattr(found, "__path__") and importlib.util.find_spec(path) is not None:
            found = importlib.import_module(path)
        else:
            return False
    return True


def mentioned(pattern: re.Pattern[str], page: Path) -> set[str]:
    """The names that a page mentions, without those in URLs; bold type is removed."""
    return set(pattern.findall(URL.sub("", page.read_text()).replace("**", "")))


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_references_resolve(page: Path) -> None:
    names = mentioned(FILE, page) | mentioned(FOLDER, page) - FOREIGN
    missing = {name for name in names if not exists(name, page)}
    missing |= {name for name in mentioned(MODULE, page) if not resolves(name)}
    assert not missing


def test_the_patterns_find_references() -> None:
    """And the checks fail for names that do not exist."""
    page = ROOT / "docs/decisions/artifacts.md"
    assert "storage/local.py" in mentioned(FILE, page)
    assert "benchmarks.decisions.artifacts" in mentioned(MODULE, page)
    assert not exists("storage/locale.py", page)
    assert not exists("locale.py", page)
    assert not resolves("headrace.storage.locale")
    assert not resolves("headrace.connected")
