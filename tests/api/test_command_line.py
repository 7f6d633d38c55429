"""The command `headrace`: real processes, their output and exit codes."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import base_environment, free_port, headrace
from tests.wire import Wire

import headrace as package
from headrace.api.routes import ROUTES
from headrace.commands.cli import cli
from headrace.settings.table import SETTINGS

if TYPE_CHECKING:
    from tests.fix_server import Server

LIMIT_S = 60


def command(
    *words: str, directory: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `headrace WORDS` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "headrace", *words],
        cwd=directory,
        env=base_environment() | (environment or {}),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def end(server: Server, number: int = signal.SIGTERM) -> int:
    """Send a signal and wait for the exit code."""
    server.process.send_signal(number)
    return server.process.wait(LIMIT_S)


def test_version(tmp_path: Path) -> None:
    """Name and version, nothing else."""
    done = command("--version", directory=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"headrace {package.__version__}\n")


def test_every_command_has_help() -> None:
    """And so has every setting."""
    commands = [cli, *cli.commands.values()]
    commands += [sub for c in commands for sub in getattr(c, "commands", {}).values()]
    assert not [c.name for c in commands if not c.help]
    assert not [setting.name for setting in SETTINGS if not setting.help.endswith(".")]


def test_the_help_of_server_names_every_flag_and_variable(tmp_path: Path) -> None:
    """It is generated from the table."""
    text = command("server", "--help", directory=tmp_path).stdout
    words = "".join(text.split())
    for setting in SETTINGS:
        if setting.flags:
            for name in (*setting.flags, *setting.env):
                assert name.replace("/", "").replace(" ", "") in words.replace("/", ""), name


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("server", "--port", "http"), "Invalid value for '--port': 'http' is not a whole number."),
        (("server", "--workers", "0"), "Invalid value for '--workers'"),
        (("server", "--app-name", "basic-auth"), "MLFLOW_FLASK_SERVER_SECRET_KEY"),
        (("server", "--app-name", "sso"), "everyone might have access"),
        (("server", "--backend-store-uri", "./mlruns"), "mlflow migrate-filestore"),
        (("server", "--static-prefix", "p"), "--static-prefix must begin with a '/'."),
        (("server", "--no-such-option"), "--no-such-option"),
        (("config", "--log-format", "xml"), "'xml' is not one of text, json."),
        (("serve",), "No such command 'serve'"),
    ],
)
def test_a_wrong_use_ends_with_2_and_leaves_nothing(
    words: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    """The reason is on stderr, stdout is empty, and no database is created."""
    done = command(*words, directory=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_variable_ends_with_2(tmp_path: Path) -> None:
    """It is named, so that it can be found."""
    done = command("server", directory=tmp_path, environment={"MLFLOW_PORT": "x"})
    assert done.returncode == 2
    assert "Invalid value for 'MLFLOW_PORT'" in done.stderr


def test_config_says_where_each_value_came_from(tmp_path: Path) -> None:
    """Flag, variable or default; a password in none of them."""
    done = command(
        "config",
        "--port",
        "8080",
        "--no-serve-artifacts",
        directory=tmp_path,
        environment={"MLFLOW_BACKEND_STORE_URI": "postgresql://me:s3cret@db/mlflow"},
    )
    assert done.returncode == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert list(rows) == ["setting", *(setting.name for setting in SETTINGS)]
    assert rows["port"] == ["8080", "--port"]
    assert rows["serve_artifacts"] == ["false", "--no-serve-artifacts"]
    assert rows["host"] == ["127.0.0.1", "default"]
    assert rows["backend_store_uri"] == [
        "postgresql://me:***@db/mlflow",
        "MLFLOW_BACKEND_STORE_URI",
    ]
    assert "s3cret" not in done.stdout + done.stderr


def test_routes_prints_the_table(tmp_path: Path) -> None:
    """Every row of it, and those that stock MLflow answers for us."""
    done = command("routes", directory=tmp_path)
    assert done.returncode == 0
    shape = re.compile(r"\{\w+(:path)?\}")  # an argument may have another name in stock's table
    lines = [shape.sub("{}", line).split() for line in done.stdout.splitlines()]
    native = {(line[0], line[1]) for line in lines if line[2:] == ["native"]}
    assert native >= {(route.method, shape.sub("{}", route.path)) for route in ROUTES}
    reasons = [line[3:] for line in lines if line[2:3] == ["bridged"]]
    assert all(reasons)
    bridged = len(reasons)
    assert bridged > 40
    count, rows = len(native), len(native) + bridged
    share = f"{count} of {rows} routes are native ({count / rows:.0%})"
    assert done.stdout.splitlines()[-1] == share


def test_db_commands_work_on_the_database_of_the_server(tmp_path: Path) -> None:
    """Created, served and released, by name, by variable or by default."""
    uri = {"MLFLOW_BACKEND_STORE_URI": "sqlite:///mlflow.db"}
    none = command("db", "check", directory=tmp_path)
    assert none.returncode == 1
    assert "headrace db init" in none.stderr
    made = command("db", "init", "sqlite:///mlflow.db", directory=tmp_path)
    assert made.returncode == 0
    assert "dc11669786a5 (MLflow 3.17), just created" in made.stdout
    for arguments, environment in (((), uri), ((), {}), (("sqlite:///mlflow.db",), {})):
        done = command("db", "check", *arguments, directory=tmp_path, environment=environment)
        assert done.returncode == 0
        assert done.stdout.splitlines()[-1] == "Nothing to do."
    assert command("db", "upgrade", directory=tmp_path).stdout == done.stdout


def test_db_release_gives_the_file_back_as_stock_leaves_it(tmp_path: Path) -> None:
    """Not while a server has it."""
    with headrace("sqlite:///mlflow.db", tmp_path) as server:
        busy = command("db", "release", directory=tmp_path)
        assert busy.returncode == 1
        assert "another process holds the file" in busy.stderr
        assert end(server) == 0
    assert journal_mode(tmp_path / "mlflow.db") == "wal"
    done = command("db", "release", directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert journal_mode(tmp_path / "mlflow.db") == "delete"
    assert sorted(path.suffix for path in tmp_path.glob("mlflow.db*")) == [".db"]


def journal_mode(path: Path) -> str:
    """The journal mode in the file's header."""
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


@pytest.mark.parametrize("name", ["check", "init", "upgrade", "release"])
@pytest.mark.parametrize(
    ("uri", "code", "says"),
    [
        ("./mlruns", 2, "migrate-filestore"),
        ("mysql://me:s3cret@db/mlflow", 2, "does not serve mysql"),
        ("sqlite:///notes.txt", 1, "not a SQLite database"),
    ],
)
def test_db_commands_refuse_what_is_no_database(
    name: str, uri: str, code: int, says: str, tmp_path: Path
) -> None:
    """With the exit code for wrong usage or for an unusable database."""
    (tmp_path / "notes.txt").write_text("Somebody's notes.\n" * 100)
    done = command("db", name, uri, directory=tmp_path)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr


def test_the_start_prints_its_configuration(tmp_path: Path) -> None:
    """Address, database, schema head, artifacts; then ready."""
    with headrace("sqlite:///mlflow.db", tmp_path) as server:
        text = server.log()
        assert server.url in text
        assert "sqlite:///mlflow.db" in text
        assert "dc11669786a5 (MLflow 3.17), just created" in text
        assert f"stored in {tmp_path}/mlartifacts" in text
        assert "\nready in " in text
        assert end(server) == 0
    with headrace("sqlite:///mlflow.db", tmp_path) as server:
        assert "dc11669786a5 (MLflow 3.17)\n" in server.log()


def test_notes_stand_before_the_start(tmp_path: Path) -> None:
    """One line each, on stderr."""
    with headrace(
        "sqlite:///mlflow.db", tmp_path, "--gunicorn-opts", "--timeout 60", "-w", "4"
    ) as server:
        first, second = server.log().splitlines()[:2]
        assert first.startswith("headrace: --workers 4 has no effect: ") or second.startswith(
            "headrace: --workers 4 has no effect: "
        )
        assert "headrace: --gunicorn-opts has no effect: " in server.log()


def test_a_port_of_0_is_a_free_one(tmp_path: Path) -> None:
    """Two servers run side by side."""
    servers = [
        subprocess.Popen(
            [sys.executable, "-m", "headrace", "server", "--port", "0", "--backend-store-uri", uri],
            cwd=tmp_path,
            env=base_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for uri in ("sqlite:///a.db", "sqlite:///b.db")
    ]
    try:
        lines = []
        for server in servers:
            assert server.stdout is not None
            lines.append(server.stdout.readline())
        urls = [line.split()[-1] for line in lines]
        assert len(set(urls)) == 2
        for url in urls:
            with Wire(url) as wire:
                assert wire.ask("GET", "/health").status == 200
    finally:
        for server in servers:
            server.kill()
            server.communicate()


def test_starting_twice_on_one_port_says_so(tmp_path: Path) -> None:
    """Exit code 1, before the database is touched."""
    with headrace("sqlite:///mlflow.db", tmp_path) as server:
        port = server.url.rpartition(":")[2]
        other = ("server", "--port", port, "--backend-store-uri", "sqlite:///other.db")
        done = command(*other, directory=tmp_path)
        assert done.returncode == 1
        assert f"Cannot listen on 127.0.0.1:{port}: another process uses the port" in done.stderr
        assert not (tmp_path / "other.db").exists()
        with Wire(server.url) as wire:
            assert wire.ask("GET", "/health").status == 200


@pytest.mark.parametrize(
    ("host", "says"),
    [("203.0.113.7", "this machine does not have the address"), ("a..b", "unknown")],
)
def test_an_address_of_another_machine_is_explained(host: str, says: str, tmp_path: Path) -> None:
    """The message names an address that works."""
    done = command("server", "--port", "0", "--host", host, directory=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Exit code 1 and a sentence, not a traceback."""
    (tmp_path / "notes.txt").write_text("Not a database, but somebody's notes.\n" * 100)
    before = (tmp_path / "notes.txt").read_bytes()
    uri = "sqlite:///notes.txt"
    done = command("server", "--port", "0", "--backend-store-uri", uri, directory=tmp_path)
    assert done.returncode == 1
    assert "the file is not a SQLite database" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "notes.txt").read_bytes() == before


def test_a_missing_directory_of_the_database_is_created(tmp_path: Path) -> None:
    """As stock MLflow does."""
    with headrace("sqlite:///data/tracking/mlflow.db", tmp_path):
        assert (tmp_path / "data" / "tracking" / "mlflow.db").exists()


def test_json_logs_are_one_object_a_line(tmp_path: Path) -> None:
    """From the first line to the last."""
    with headrace("sqlite:///mlflow.db", tmp_path, "--log-format", "json") as server:
        assert end(server) == 0
        lines = [json.loads(line) for line in server.log().splitlines()]
    assert {"time", "level", "logger", "process", "message"} <= set(lines[0])
    assert server.url in lines[0]["message"]
    assert lines[0]["process"] == server.process.pid


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/PID/maps")
def test_what_is_not_used_is_not_loaded(tmp_path: Path) -> None:
    """No PostgreSQL driver on SQLite, no object store client before the first artifact."""
    with headrace("sqlite:///mlflow.db", tmp_path) as server:
        loaded = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "/uvloop/" in loaded, "the test must see what is loaded"
    for name in ("/asyncpg/", "/obstore/", "/mlflow/", "/sqlalchemy/"):
        assert name not in loaded


def test_ipv6(tmp_path: Path) -> None:
    """An address with colons, and a URL with brackets."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "headrace", "server", "--host", "::1", "--port", str(port)],
        cwd=tmp_path,
        env=base_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline().endswith(f"at http://[::1]:{port}\n")
        with socket.create_connection(("::1", port), timeout=LIMIT_S) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    finally:
        server.kill()
        server.communicate()


def test_normal_and_full_reach_the_file(tmp_path: Path) -> None:
    """--sqlite-synchronous is a setting of the connection that writes; the file is in WAL mode."""
    with headrace("sqlite:///mlflow.db", tmp_path, "--sqlite-synchronous", "normal") as server:
        assert "synchronous NORMAL" in server.log()
        assert journal_mode(tmp_path / "mlflow.db") == "wal"


def test_a_prefix_stands_before_every_path(tmp_path: Path) -> None:
    """And in the address that the start prints."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "headrace", "server", "-p", str(port), "--static-prefix", "/ml"],
        cwd=tmp_path,
        env=base_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline().endswith(f"at http://127.0.0.1:{port}/ml\n")
        with Wire(f"http://127.0.0.1:{port}") as wire:
            assert wire.ask("GET", "/ml/health").status == 200
            assert wire.ask("GET", "/health").status == 404
    finally:
        server.kill()
        server.communicate()


def test_a_shell_can_close_the_pipe(tmp_path: Path) -> None:
    """`headrace routes | head -1` is no error."""
    pipe = subprocess.run(
        f"{sys.executable} -m headrace config | head -1",
        shell=True,
        cwd=tmp_path,
        env=base_environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert pipe.stdout.startswith("setting ")
    assert pipe.stderr == ""
    assert list(tmp_path.iterdir()) == []
