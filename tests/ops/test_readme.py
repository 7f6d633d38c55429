"""Every command that README shows is run by a test."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.fix_checkout import checkout_environment, copy_source
from tests.fix_server import ROOT, Server, free_port, running
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 240
# By command, the file that runs it. CI runs the last two before all tests.
RUN_BY = {
    "make serve": "tests/ops/test_make_serve.py",
    "make serve FULL=1": "tests/ops/test_make_serve.py",
    "uvx --from . headrace server": "tests/ops/test_readme.py",
    "pip install .": "tests/ops/test_readme.py",
    "make install": "Makefile",
    "make test": ".ci/run",
}
COMMAND = re.compile(r"^    ((?:make|uvx|pip|headrace) .*?)(?:\s+#.*)?$", re.MULTILINE)


def test_the_commands_of_readme_are_those_that_tests_run() -> None:
    assert COMMAND.findall((ROOT / "README.md").read_text()) == [*RUN_BY]
    for command, file in RUN_BY.items():
        text = (ROOT / file).read_text()
        assert all(word in text for word in command.split()), f"{file} does not run {command}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_source(tmp_path_factory.mktemp("checkout"))


def serves(argv: list[str], directory: Path, port: int) -> None:
    """Start a server by a command, and ask it something."""
    server = Server("headrace", argv, directory, checkout_environment(), port)
    with running(server), Wire(server.url) as wire:
        assert wire.ask("GET", "/health").body == b"OK"
        assert wire.ask("GET", "/").status == 200


@pytest.mark.timeout(LIMIT_S)
def test_pip_installs_the_checkout(checkout: Path, tmp_path: Path) -> None:
    """`pip install .` into an environment of its own gives a command that serves."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    installer = [str(tmp_path / "env/bin/pip"), "install", "--no-compile", "."]
    subprocess.run(installer, cwd=checkout, env=checkout_environment(), check=True, timeout=LIMIT_S)
    port = free_port()
    command = [str(tmp_path / "env/bin/headrace"), "server", "--port", str(port)]
    serves(command, tmp_path, port)


@pytest.mark.timeout(LIMIT_S)
def test_uvx_runs_the_checkout(checkout: Path) -> None:
    uvx = shutil.which("uvx", path=f"{sys.prefix}/bin") or shutil.which("uvx")
    if uvx is None:
        pytest.skip("uv is not installed")
    port = free_port()
    argv = [uvx, "--python", sys.executable, "--from", ".", "headrace", "server"]
    serves([*argv, "--port", str(port)], checkout, port)
