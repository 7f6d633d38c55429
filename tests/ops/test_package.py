"""The package: its contents, and installations from it in clean environments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fix_checkout import checkout_environment
from tests.fix_server import ROOT, Server, free_port, running
from tests.wire import Wire

from headrace.monitor.probes import MLFLOW_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 300
BIN = Path(sys.executable).parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
JSON = {"content-type": "application/json"}
pytestmark = pytest.mark.timeout(LIMIT_S)


def ran(*argv: str | Path, directory: Path = ROOT) -> str:
    """The output of a tool, which must succeed."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=directory,
        env=checkout_environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def repository(directory: Path) -> Path:
    """A clean clone of the tracked files as they are now, as the release command needs it."""
    # Another user may own the checkout, which git refuses otherwise.
    listed = ran("git", "-c", f"safe.directory={ROOT}", "ls-files", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")
    ran("git", "init", "--quiet", "--initial-branch=main", directory=directory)
    ran("git", "config", "user.name", "tests", directory=directory)
    ran("git", "config", "user.email", "tests@example.com", directory=directory)
    ran("git", "add", "--all", directory=directory)
    ran("git", *identity, "commit", "--quiet", "--message", "all", directory=directory)
    return directory


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which the release command has made version 7.8.9; it runs `twine check`."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a clone and git")
    root = repository(tmp_path_factory.mktemp("repository"))
    script = root / "scripts/release.py"
    ran(sys.executable, script, "7.8.9", "https://example.com/headrace", directory=root)
    return root


@pytest.fixture(scope="module")
def wheel(released: Path) -> Path:
    (found,) = (released / "dist").glob("*.whl")
    return found


def test_a_release_changes_version_changelog_and_tag(released: Path) -> None:
    project = tomllib.loads((released / "pyproject.toml").read_text())["project"]
    assert project["version"] == "7.8.9"
    assert re.search(
        r"^## 7\.8\.9 \(\d{4}-\d\d-\d\d\)$", (released / "CHANGELOG.md").read_text(), re.M
    )
    assert "image: headrace:7.8.9" in (released / "deploy/kubernetes/gc.yaml").read_text()
    assert "\nappVersion: 7.8.9\n" in (released / "deploy/helm/headrace/Chart.yaml").read_text()
    assert ran("git", "describe", "--exact-match", directory=released) == "v7.8.9\n"
    assert ran("git", "status", "--porcelain", directory=released) == ""


def test_a_second_release_of_a_version_is_refused(released: Path) -> None:
    argv = [sys.executable, released / "scripts/release.py", "7.8.9", "https://example.com/h"]
    done = subprocess.run(argv, cwd=released, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "the tag v7.8.9 exists\n")


def test_the_wheel_has_the_package_and_a_page_with_whole_addresses(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read("headrace-7.8.9.dist-info/METADATA").decode()
    sources = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src/headrace").rglob("*")
        if path.suffix in (".py", ".sql", ".typed")
    }
    inside = {name for name in names if name.startswith("headrace/")}
    assert inside == sources
    assert "Project-URL: Homepage, https://example.com/headrace" in metadata
    page = metadata.partition("\n\n")[2]
    assert "https://example.com/headrace/raw/v7.8.9/docs/images/runs.png" in page
    assert not re.findall(r"\]\((?!https?://|#)", page), "links that work in the repository only"


def test_the_source_distribution_has_tests_and_documents(released: Path) -> None:
    (found,) = (released / "dist").glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = ran("git", "ls-files", "-z", directory=released).rstrip("\0").split("\0")
    left_out = {name for name in tracked if name not in names}
    assert left_out == {".gitignore"}


def environment(directory: Path, python: str, *install: str | Path) -> Path:
    """A new environment with these packages; its directory of commands."""
    ran(BIN / "uv", "venv", "--quiet", "--python", python, directory)
    ran(BIN / "uv", "pip", "install", "--quiet", "--python", directory / "bin/python", *install)
    return directory / "bin"


def serves(commands: Path, directory: Path, uri: str) -> None:
    """Log and read back through a server of an environment: rows, an artifact, metrics."""
    assert ran(commands / "headrace", "--version", directory=directory) == "headrace 7.8.9\n"
    port = free_port()
    argv = [str(commands / "headrace"), "server", "--backend-store-uri", uri, "--port", str(port)]
    server = Server("headrace", argv, directory, checkout_environment(), port)
    with running(server), Wire(server.url) as wire:
        api = "/api/2.0/mlflow"
        made = wire.ask("POST", f"{api}/runs/create", b'{"experiment_id": "0"}', JSON).json()
        run_id = made["run"]["info"]["run_id"]
        point = '{"key": "loss", "value": 0.5, "timestamp": 1, "step": 1}'
        body = f'{{"run_id": "{run_id}", "metrics": [{point}]}}'.encode()
        assert wire.ask("POST", f"{api}/runs/log-batch", body, JSON).status == 200
        wanted = b'{"experiment_ids": ["0"], "filter": "metrics.loss < 1"}'
        found = wire.ask("POST", f"{api}/runs/search", wanted, JSON).json()["runs"]
        assert [run["info"]["run_id"] for run in found] == [run_id]
        artifact = "/api/2.0/mlflow-artifacts/artifacts/0/a.txt"
        assert wire.ask("PUT", artifact, b"text").status == 200
        assert wire.ask("GET", artifact).body == b"text"
        assert b"headrace_build_info" in wire.ask("GET", "/metrics").body


def python_of(version: str) -> str | None:
    """A Python of that version on this machine."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python3")):
        if candidate is None:
            continue
        try:
            done = subprocess.run([candidate, "-c", ""], capture_output=True, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return str(candidate)
    return None


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_serves_in_a_clean_environment(version: str, wheel: Path, tmp_path: Path) -> None:
    python = python_of(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    commands = environment(tmp_path / "env", python, wheel)
    serves(commands, tmp_path, f"sqlite:///{tmp_path}/m.db")


@pytest.fixture(scope="module")
def lowest(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment with the oldest dependencies that pyproject.toml permits."""
    place = tmp_path_factory.mktemp("lowest") / "env"
    yield environment(
        place,
        sys.executable,
        "--resolution=lowest-direct",
        f"headrace[oidc,webhooks] @ {wheel.as_uri()}",
    )


def test_the_oldest_permitted_dependencies_serve(lowest: Path, uri: str, tmp_path: Path) -> None:
    serves(lowest, tmp_path, uri)


def test_the_image_pins_every_package() -> None:
    """deploy/constraints.txt; `make deploy/constraints.txt` renews it."""
    pins = (ROOT / "deploy/constraints.txt").read_text()
    pinned = {line.partition("==")[0] for line in pins.splitlines()}
    assert all("==" in line for line in pins.splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        text for extra in project["optional-dependencies"].values() for text in extra
    ]
    names = {re.split(r"[\[<>=;]", text)[0] for text in wanted}
    assert not names - pinned
    assert f"mlflow=={MLFLOW_VERSION}" in pins.splitlines()
