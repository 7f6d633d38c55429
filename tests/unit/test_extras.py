"""The command that installs an optional package suits the environment of the process."""

from __future__ import annotations

import sys

import pytest

from headrace.extras import install_command, own_install_command


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/home/me/headrace/.venv-serve", "make serve FULL=1"),
        ("/home/me/.cache/uv/archive-v0/dhSvv2agqyqOB61P", "uvx --from '.[import]' headrace ..."),
        ("/home/me/env", "pip install 'pyyaml>=6'"),
    ],
)
def test_command_suits_the_environment(
    monkeypatch: pytest.MonkeyPatch, prefix: str, command: str
) -> None:
    monkeypatch.setenv("UV", "/usr/bin/uv")
    monkeypatch.setattr(sys, "prefix", prefix)

    assert install_command("import") == command
    assert own_install_command("import").endswith(command)


def test_cache_of_uv_without_uv_is_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(sys, "prefix", "/home/me/.cache/uv/archive-v0/dhSvv2agqyqOB61P")

    assert install_command("import") == "pip install 'pyyaml>=6'"
