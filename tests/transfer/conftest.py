"""`headrace import` into the database of a test, in the process of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from click.testing import CliRunner

from headrace.client import engine
from headrace.commands.transfer import import_
from headrace.transfer import server_api, target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Imported(Protocol):
    """Imports a source with options; returns the exit code and the output."""

    def __call__(self, source: str, *words: str) -> tuple[int, str]: ...


@pytest.fixture
def imported(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imported]:
    """The command, on each database, in the directory of the test."""

    def run(source: str, *words: str) -> tuple[int, str]:
        found = CliRunner().invoke(import_, [source, "--backend-store-uri", uri, *words])
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exc_info
        return found.exit_code, found.output

    for module in (server_api, target):
        monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.chdir(tmp_path)
    yield run
    engine.close_all()
