"""The documents agree with the source: version, settings."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import TYPE_CHECKING

import headrace
from headrace.extras import EXTRAS
from headrace.settings.table import SETTINGS
from headrace.settings.unsupported import UNSUPPORTED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.repo.conftest import Source

TABLE = (
    "src/headrace/settings/table.py",
    "src/headrace/settings/rules.py",
    "src/headrace/settings/login.py",
    "src/headrace/settings/webhooks.py",
    "src/headrace/settings/unsupported.py",
)
VARIABLE = re.compile(r"(MLFLOW|HEADRACE)_[A-Z_]+")
OTHER_VARIABLES = {
    "MLFLOW_WORKSPACE",  # of clients; headrace refuses it
    "MLFLOW_TRACKING_PASSWORD",  # of clients: named in messages, read by `headrace auth whoami`
    "MLFLOW_TRACKING_INSECURE_TLS",  # of clients: read by `headrace import`
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "HEADRACE_TEST_",  # the prefix of the test suite's variables
    "HEADRACE_UPGRADE_URI",  # passes a URI to a child process
    "MLFLOW_ENABLE_REMOTE_ASSISTANT",  # stock MLflow reads it; the bridge starts stock only if it is set
    "MLFLOW_DEPLOYMENTS_TARGET",  # the same
    "MLFLOW_EXPERIMENT",  # a kind of place of a trace
}
SETTINGS_OBJECT = re.compile(r"(.*\.)?_?settings")


def test_the_version_is_the_same_everywhere(root: Path) -> None:
    """pyproject.toml, the package and the newest heading of the changelog agree."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert project["version"] == headrace.__version__
    assert newest[1] in (project["version"], "Unreleased")


def test_the_extras_of_messages_are_those_of_the_package(root: Path) -> None:
    """pyproject.toml and the commands that headrace prints name the same packages."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    stated = {name: tuple(texts) for name, texts in project["optional-dependencies"].items()}
    assert stated == EXTRAS


def test_every_setting_has_a_heading(root: Path) -> None:
    """So that links to settings work."""
    headings = re.findall(
        r"^### (.*)$", (root / "docs/reference/settings.md").read_text(), re.MULTILINE
    )
    assert headings == [setting.name for setting in SETTINGS]


def named_variables(package: list[Source]) -> set[str]:
    """The environment variables that the source names, outside the table and the bridge.

    The bridge passes its whole environment on to stock MLflow.
    """
    return {
        text.value
        for source in package
        if source.name not in TABLE and not source.name.startswith("src/headrace/bridge/")
        for text in source.strings()
        if isinstance(text.value, str) and VARIABLE.fullmatch(text.value)
    }


def test_every_setting_is_used(package: list[Source]) -> None:
    """Every setting is read somewhere in the source."""
    read = {
        node.attr
        for source in package
        if source.name not in TABLE
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and SETTINGS_OBJECT.fullmatch(ast.unparse(node.value))
    }
    variables = named_variables(package)
    promised = {s.name for s in SETTINGS if s.topic != UNSUPPORTED and not variables & {*s.env}}
    assert not promised - read


def test_every_variable_that_is_read_is_a_setting(package: list[Source]) -> None:
    """So that `headrace config` shows it and a wrong value is reported at the start."""
    known = {name for setting in SETTINGS for name in setting.env}
    assert not named_variables(package) - known - OTHER_VARIABLES


def test_links_between_documents_are_valid(root: Path) -> None:
    """Relative links of every Markdown file."""
    broken = []
    for page in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert not broken
