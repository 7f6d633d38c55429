"""The commands in the documents for operators run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
from tests.faults.load import Once
from tests.fix_server import ROOT, base_environment, headrace

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 60
PAGES = ("docs/howto/operate.md", "docs/howto/switch.md", "docs/howto/install.md")
COMMAND = re.compile(
    r"^    ((?:headrace|curl) .*?)(?:  +#.*)?$|`(headrace (?:db )?[a-z-]+(?: [^`]+)?)`", re.M
)
OTHERS = (
    "headrace server",
    "headrace gc",
    "headrace config",
)  # only mentioned, or tested elsewhere


def commands() -> list[str]:
    """Every command of headrace, and curl, that a page shows with what it acts on."""
    found = []
    for page in PAGES:
        for block, inline in COMMAND.findall((ROOT / page).read_text()):
            if block or inline not in OTHERS:
                found.append(block or inline)
    return [c for c in dict.fromkeys(found) if not c.startswith("headrace server")]


def run(command: str, directory: Path, server: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell, with the paths of the test in place of the page's."""
    uri = f"sqlite:///{directory}/mlflow.db"
    for old, new in (
        ("sqlite:////data/mlflow.db", uri),
        ("sqlite:///mlflow.db", uri),
        ("sqlite:///PATH", uri),
        ("URI", uri),
        ("/backups/mlflow-2026-01-31.db", f"{directory}/backup-$(date +%F).db"),
        ("/backups/mlflow-", f"{directory}/backup-"),
        ("s3://BUCKET", f"{directory}/mlartifacts"),
        ("http://HOST:5000", server),
    ):
        command = command.replace(old, new)
    program = f"{sys.executable} -m headrace.commands.cli"
    return subprocess.run(
        ["sh", "-c", re.sub(r"^headrace", program, command)],
        cwd=directory,
        env=base_environment() | {"PWD": os.fspath(directory)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_commands_run_as_written(tmp_path: Path) -> None:
    """First the commands that run beside a server, then those that need the file alone."""
    shown = commands()
    alone = [
        c
        for c in shown
        if c.startswith(("headrace restore", "headrace db release", "headrace db upgrade"))
    ]
    assert len(alone) >= 3
    assert len(shown) >= 12
    with headrace("sqlite:///mlflow.db", tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run()
        wire.made("runs/delete", {"run_id": run_id})
        for command in shown:
            if command not in alone:
                done = run(command, tmp_path, server.url)
                assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    for command in alone:
        done = run(command, tmp_path, "")
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def test_the_queries_for_postgresql_run(postgres_uri: str) -> None:
    """The query for headrace's sessions finds a connection that has its name."""
    page = (ROOT / "docs/howto/operate.md").read_text()
    statements = re.findall(r"^ {8}(SELECT pid.*?);$", page, re.MULTILINE | re.DOTALL)
    assert len(statements) == page.count("SELECT pid") == 2
    with psycopg.connect(postgres_uri, application_name="headrace") as connection:
        found = {s: connection.execute(s.encode()).fetchall() for s in statements}
    (sessions,) = [rows for statement, rows in found.items() if "application_name" in statement]
    assert len(sessions) >= 1
