"""The units for systemd: readiness, the timers, and the commands that they run."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import ROOT, base_environment, headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

UNITS = ROOT / "deploy/systemd"
LIMIT_S = 60
PROGRAM = "/opt/headrace/bin/headrace"


def received(channel: socket.socket) -> str:
    """The next message to the service manager."""
    return channel.recv(4096).decode()


@pytest.mark.parametrize("name", ["here", "@headrace-test"])
def test_the_service_manager_learns_when_the_server_is_ready_and_stops(
    name: str, tmp_path: Path
) -> None:
    """Over a socket in a directory, and over one in the abstract namespace."""
    address = f"{name}-{os.getpid()}" if name[0] == "@" else str(tmp_path / name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if address[0] == "@" else address)
        manager.settimeout(LIMIT_S)
        with headrace(
            f"sqlite:///{tmp_path}/m.db", tmp_path, environment={"NOTIFY_SOCKET": address}
        ) as server:
            assert received(manager) == "READY=1"
            with Wire(server.url) as wire:
                assert wire.ask("GET", "/readyz").status == 200
            server.process.send_signal(signal.SIGTERM)
            assert received(manager) == "STOPPING=1"
            assert server.process.wait(LIMIT_S) == 0


def test_several_processes_are_ready_once(postgres_uri: str, tmp_path: Path) -> None:
    """The supervisor reports it, when all of its workers serve."""
    path = str(tmp_path / "manager")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(LIMIT_S)
        environment = {"NOTIFY_SOCKET": path}
        with headrace(postgres_uri, tmp_path, "--workers", "2", environment=environment):
            assert received(manager) == "READY=1"


def test_a_service_manager_that_is_gone_is_only_logged(tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    with headrace(f"sqlite:///{tmp_path}/m.db", tmp_path, environment=environment) as server:
        with Wire(server.url) as wire:
            assert wire.ask("GET", "/health").status == 200
        assert "the service manager did not receive READY=1" in server.log()


def test_systemd_reads_all_units(tmp_path: Path) -> None:
    """`systemd-analyze verify`, with an existing program; each timer has its service."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in UNITS.iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
        if unit.suffix == ".timer":
            assert unit.with_suffix(".service").exists()
    done = subprocess.run(
        [tool, "verify", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_backup_service_leaves_one_copy_for_the_day(tmp_path: Path) -> None:
    """The command of the unit, as systemd passes it to the shell, twice on one day."""
    (line,) = re.findall(
        r"^ExecStart=/bin/sh -ec '(.*)'$", (UNITS / "headrace-backup.service").read_text(), re.M
    )
    script = line.replace("$$", "$").replace("%%", "%")
    program = f"{sys.executable} -m headrace"
    with headrace("sqlite:///mlflow.db", tmp_path):
        for _ in range(2):
            subprocess.run(
                ["/bin/sh", "-ec", script.replace(PROGRAM, program)],
                cwd=tmp_path,
                env=base_environment(),
                timeout=LIMIT_S,
                check=True,
            )
    (copy,) = (tmp_path / "backups").iterdir()
    today = datetime.datetime.now().astimezone()
    days = {today.isoweekday(), (today - datetime.timedelta(days=1)).isoweekday()}  # midnight
    assert copy.name in {f"mlflow-{day}.db" for day in days}
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT count(*) FROM experiments").fetchone() == (1,)
