"""The manual is complete and current: generated pages, navigation, fields of the log."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks import pages
from scripts.reference import PAGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.repo.conftest import Source

# The functions that make lines of the log, and their files.
LINES = {
    "src/headrace/http/request_log.py": {"_write"},
    "src/headrace/auth/audit.py": {"refused", "changed", "command_changed", "_changed"},
    "src/headrace/server/logs.py": {"format"},
}


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_current(root: Path, name: str) -> None:
    """If it is not, run `make docs`."""
    committed = (root / "docs/reference" / name).read_text()
    assert committed == PAGES[name](), f"run `make docs`, which writes docs/reference/{name}"


def pages_of(node: Any) -> Iterator[str]:
    """Every page in a part of the navigation."""
    if isinstance(node, str):
        yield node
    else:
        for child in node.values() if isinstance(node, dict) else node:
            yield from pages_of(child)


def test_every_page_can_be_found(root: Path) -> None:
    """In the navigation, or in the index of the decisions."""
    docs = root / "docs"
    navigation = tomllib.loads((root / "zensical.toml").read_text())["project"]["nav"]
    listed = list(pages_of(navigation))
    index = (docs / "decisions/index.md").read_text()
    listed += [f"decisions/{name}" for name in re.findall(r"\]\(([\w-]+\.md)\)", index)]
    existing = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")}
    assert set(listed) == existing
    assert len(set(listed)) == len(listed)


def test_items_of_lists_are_indented_for_the_renderer(root: Path) -> None:
    """It takes what is indented by fewer than 4 spaces for the end of the list."""
    wrong = []
    for page in sorted((root / "docs").rglob("*.md")):
        is_numbered = False
        for number, line in enumerate(page.read_text().splitlines(), 1):
            if re.match(r"\S", line):
                is_numbered = re.match(r"\d+\. ", line) is not None
            elif re.match(r" {1,3}\S" if is_numbered else r" {1,3}([-*]|\d+\.) ", line):
                wrong.append(f"{page.relative_to(root)}:{number}")
    assert not wrong


def keys(function: ast.AST) -> Iterator[str]:
    """The constant keys of the dicts of a function."""
    for node in ast.walk(function):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.Dict):
            found = node.keys
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            found = [node.slice]
        for key in found:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value


def test_the_page_of_the_log_lists_every_field(root: Path, package: list[Source]) -> None:
    """And no other."""
    written = {
        key
        for source in package
        for function in source.functions()
        if function.name in LINES.get(source.name, ())
        for key in keys(function)
    } - {"fields"}
    rows = re.findall(r"^\| (`.*?) \|", (root / "docs/reference/log.md").read_text(), re.M)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == written


@pytest.mark.parametrize("name", pages.PAGES)
def test_the_figures_are_those_of_the_results(root: Path, name: str) -> None:
    """If they are not, run `make docs`."""
    text = (root / name).read_text()
    assert pages.MARKED.search(text)
    assert text == pages.filled(name, text), f"run `make docs`, which writes the figures of {name}"


def test_the_pictures_are_those_of_the_results(root: Path) -> None:
    for name, svg in pages.pictures().items():
        assert (root / name).read_text() == svg, f"run `make docs`, which writes {name}"


def test_a_changed_figure_is_found(root: Path) -> None:
    """The check of the figures can fail."""
    text = (root / "README.md").read_text()
    changed = re.sub(r"(log-batch of 10 metrics, one run \| )[\d,]+", r"\g<1>1", text)
    assert changed != text
    assert pages.filled("README.md", changed) == text
