"""A process with an ASCII locale: file names are UTF-8 in spite of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.faults.load import Once
from tests.fix_server import base_environment, headrace

PLAIN = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
NAME = "%C3%BC%E4%B8%AD.txt"


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """A headrace command in that locale."""
    return subprocess.run(
        [sys.executable, "-m", "headrace.commands.cli", *words],
        env=base_environment() | PLAIN,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_names_beyond_ascii_are_served_whatever_the_locale_is(tmp_path: Path) -> None:
    """For artifacts, the database file and the directory."""
    uri, store = f"sqlite:///{tmp_path}/döb.db", tmp_path / "künst"
    options = ("--artifacts-destination", str(store))
    with (
        headrace(uri, tmp_path, *options, environment=PLAIN) as server,
        Once(server.url) as wire,
    ):
        for _ in range(2):  # the second replaces the first
            assert wire.ask("PUT", f"{ARTIFACTS}/d/{NAME}", b"content").status == 200
        assert (store / "d" / "ü中.txt").read_bytes() == b"content"
        read = wire.ask("GET", f"{ARTIFACTS}/d/{NAME}")
        assert (read.status, read.body) == (200, b"content")
        (listed,) = wire.ask("GET", f"{ARTIFACTS}?path=d").json()["files"]
        assert listed["path"] == "ü中.txt"
        refused = wire.ask("PUT", f"{ARTIFACTS}/%C3%BC%E4%B8%AD", b"")
        assert refused.status == 200
        refused = wire.ask("PUT", f"{ARTIFACTS}/%C3%BC%E4%B8%AD/{NAME}", b"")
        assert (refused.status, "ü中" in refused.json()["message"]) == (400, True)
        assert wire.ask("DELETE", f"{ARTIFACTS}/d/{NAME}").status == 200
        assert not (store / "d" / "ü中.txt").exists()
    assert (tmp_path / "döb.db").exists()


def test_commands_find_names_beyond_ascii_whatever_the_locale_is(tmp_path: Path) -> None:
    """Backup, restore, and gc of a run whose artifacts lie in such a directory."""
    uri, root = f"sqlite:///{tmp_path}/d%C3%B6b.db", tmp_path / "künst"
    options = ("--no-serve-artifacts", "--default-artifact-root", str(root))
    with (
        headrace(uri, tmp_path, *options, environment=PLAIN) as server,
        Once(server.url) as wire,
    ):
        run_id = wire.new_run()
        get = f"/api/2.0/mlflow/runs/get?run_id={run_id}"
        place = wire.ask("GET", get).json()["run"]["info"]["artifact_uri"]
        assert "künst" in place
        Path(place).mkdir(parents=True)
        (Path(place) / "gewichtä.bin").write_bytes(b"weights")
        wire.made("runs/delete", {"run_id": run_id})
    assert (tmp_path / "döb.db").exists()
    for words in (
        ("backup", uri, str(tmp_path / "köpie.db")),
        ("gc", uri),
        ("restore", str(tmp_path / "köpie.db"), uri, "--force"),
        ("doctor", uri),
    ):
        done = command(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert not Path(place).exists()
    assert (tmp_path / "köpie.db").exists()
    assert (tmp_path / "döb.db.replaced-1").exists()
