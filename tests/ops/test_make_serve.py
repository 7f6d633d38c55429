"""The first ten minutes: `make serve` in a fresh checkout, and the Python that it finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fix_checkout import checkout_environment, copy_source
from tests.fix_server import ROOT, Server, free_port, running
from tests.wire import Wire

from headrace.extras import SERVE_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

FIND = ROOT / "scripts/find-python"
MAX_BYTES = 100 << 20


def find(directory: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """The result of the script where PATH has these programs only."""
    directory.mkdir()
    for name, text in programs.items():
        path = directory / name.replace("_", ".")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", str(FIND)],
        env={"PATH": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_suitable_python_of_any_name_is_found(tmp_path: Path) -> None:
    real = f'exec {sys.executable} "$@"'
    for name in ("python3_11", "python3_13", "python3"):
        found = find(tmp_path / name, **{name: real, "python": "exit 1"})
        assert (found.returncode, found.stderr) == (0, "")
        assert found.stdout.strip() == str(tmp_path / name / name.replace("_", "."))


def test_a_launcher_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    found = find(tmp_path / "bin", python3_11="exit 127", python3=f'exec {sys.executable} "$@"')
    assert found.stdout.strip().endswith("/python3")


def test_without_a_suitable_python_the_message_says_so(tmp_path: Path) -> None:
    found = find(tmp_path / "bin", python3="exit 1")
    assert found.returncode == 1
    assert "needs Python 3.11, 3.12, 3.13 or 3.14" in found.stderr


def test_a_python_without_venv_gets_advice(tmp_path: Path) -> None:
    only_version = 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac'
    found = find(tmp_path / "bin", python3_12=only_version)
    assert found.returncode == 1
    assert "apt-get install python3-venv" in found.stderr


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that `make serve` installs and starts in a copy of the source."""
    checkout = copy_source(tmp_path_factory.mktemp("checkout"))
    # Without a cache, as on a new machine.
    environment = checkout_environment() | {"PYTHON": sys.executable, "PIP_NO_CACHE_DIR": "1"}
    subprocess.run(
        ["make", f"{SERVE_ENVIRONMENT}/.installed"], cwd=checkout, env=environment, check=True
    )
    port = free_port()
    argv = ["make", "serve", f"SERVE=--port {port}"]
    with running(Server("make", argv, checkout, environment, port)) as server:
        yield server


@pytest.mark.timeout(300)
def test_make_serve_installs_the_page_and_little_else(served: Server) -> None:
    """Less than 100 MiB, no packages that MLflow requires, and MLflow's page at /."""
    with Wire(served.url) as wire:
        assert b"static-files/static/js/main" in wire.ask("GET", "/").body
    place = served.directory / SERVE_ENVIRONMENT
    size = sum(
        os.lstat(Path(folder, name)).st_blocks * 512
        for folder, _, names in os.walk(place)
        for name in names
    )
    assert size < MAX_BYTES
    assert not [*place.glob("lib/*/site-packages/pandas")]
    assert "To add them: make serve FULL=1" in served.log()


def test_full_adds_what_mlflow_requires() -> None:
    """Only planned here: the environment of the tests is installed by the same command."""
    plan = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "serve", "FULL=1"],
        cwd=ROOT,
        env=checkout_environment() | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"{SERVE_ENVIRONMENT}/bin/python -m pip install --editable '.[mlflow,oidc]'" in plan
    assert plan.splitlines()[-1].strip() == f"{SERVE_ENVIRONMENT}/bin/headrace server"
