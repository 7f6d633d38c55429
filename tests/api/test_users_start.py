"""The start of a server with users: what is made, what ends the command, and what is open."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import base_environment, free_port, headrace
from tests.fix_users import PASSWORD, Person, auth_environment
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

APP = ("--app-name", "basic-auth")
GET = "2.0/mlflow/experiments/get"


def refused(uri: str, directory: Path, environment: dict[str, str]) -> str:
    """The message of a server that does not start."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "headrace", "server", *APP, "--backend-store-uri", uri),
            *("--port", str(free_port())),
        ],
        cwd=directory,
        env=base_environment() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 2) and done.stdout == ""
    assert "Traceback" not in done.stderr and PASSWORD not in done.stderr
    return " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("keys", "variables", "says"),
    [
        ({}, {"MLFLOW_FLASK_SERVER_SECRET_KEY": ""}, "Set MLFLOW_FLASK_SERVER_SECRET_KEY"),
        ({"admin_password": ""}, {}, "set MLFLOW_AUTH_ADMIN_PASSWORD, or admin_password"),
        ({}, {"MLFLOW_AUTH_ADMIN_PASSWORD": ""}, "set MLFLOW_AUTH_ADMIN_PASSWORD"),
        ({}, {"MLFLOW_AUTH_ADMIN_USERNAME": ""}, "set MLFLOW_AUTH_ADMIN_USERNAME"),
        ({"admin_password": "password1234"}, {}, "the one that MLflow published"),
        ({"admin_password": "elevenchars"}, {}, "too short"),
        ({"default_permission": "ALL"}, {}, "Invalid value for default_permission"),
        ({"database_uri": "mysql://h/users"}, {}, "headrace does not serve mysql"),
    ],
)
def test_a_server_that_cannot_serve_users_does_not_start(
    keys: dict[str, str], variables: dict[str, str], says: str, tmp_path: Path
) -> None:
    """One sentence says what to set. A first start needs the admin's password, a later one does not."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    environment = auth_environment(tmp_path, uri, **keys) | variables
    assert says in refused(uri, tmp_path, environment)


def test_config_shows_the_configuration_of_users_without_secrets(tmp_path: Path) -> None:
    """And the origin of each value."""
    uri = "postgresql://ann:s3cret@db/users"
    environment = auth_environment(tmp_path, uri) | {"MLFLOW_AUTH_ADMIN_USERNAME": "boss"}
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "config", *APP],
        env=base_environment() | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["auth.admin_username", "boss", "MLFLOW_AUTH_ADMIN_USERNAME"] in rows
    assert ["auth.admin_password", "***", str(tmp_path / "auth.ini")] in rows
    assert ["secret_key", "***", "MLFLOW_FLASK_SERVER_SECRET_KEY"] in rows
    key = environment["MLFLOW_FLASK_SERVER_SECRET_KEY"]
    for secret in (PASSWORD, "s3cret", key):
        assert secret not in done.stdout + done.stderr


def test_a_later_start_needs_no_password(uri: str, tmp_path: Path) -> None:
    """And ignores a configured one."""
    environment = auth_environment(tmp_path, uri)
    for password in (PASSWORD, "", "another long password"):
        environment["MLFLOW_AUTH_ADMIN_PASSWORD"] = password
        with (
            headrace(uri, tmp_path, *APP, environment=environment) as server,
            Person(server.url) as root,
        ):
            root.ok("GET", GET, experiment_id="0")
            assert PASSWORD not in server.log()


def test_whoami_asks_the_server_with_the_clients_credentials(tmp_path: Path) -> None:
    """Variables, the file of credentials, or a token; without users it says so."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    environment = auth_environment(tmp_path, uri)
    home = tmp_path / "home"
    (home / ".mlflow").mkdir(parents=True)

    def whoami(url: str, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "headrace", "auth", "whoami", "--tracking-uri", url],
            env=base_environment() | {"HOME": str(home)} | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode == 0) == bool(done.stdout) and PASSWORD not in done.stderr
        return done.stdout.strip() or " ".join(done.stderr.split())

    with headrace(uri, tmp_path, *APP, environment=environment) as server:
        pair = {"MLFLOW_TRACKING_USERNAME": "root", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        assert whoami(server.url, **pair) == "root (admin)"
        assert "does not accept" in whoami(server.url, **pair | {"MLFLOW_TRACKING_PASSWORD": "x"})
        assert "asks for a login" in whoami(server.url)
        issued = subprocess.run(
            [sys.executable, "-m", "headrace", "auth", "token", "root", "--days", "1"],
            env=base_environment() | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()
        assert whoami(server.url, MLFLOW_TRACKING_TOKEN=issued) == "root (admin)"
        credentials = (
            f"[mlflow]\nmlflow_tracking_username = root\nmlflow_tracking_password = {PASSWORD}\n"
        )
        (home / ".mlflow" / "credentials").write_text(credentials)
        assert whoami(server.url) == "root (admin)"
    with headrace(uri, tmp_path) as server:
        assert "has no users" in whoami(server.url, **pair)


def test_users_in_another_database(uri: str, tmp_path: Path) -> None:
    """Beside a tracking database of either kind."""
    environment = auth_environment(tmp_path, f"sqlite:///{tmp_path}/users.db")
    with (
        headrace(uri, tmp_path, *APP, environment=environment) as server,
        Person(server.url) as root,
        Person(server.url, "root", "a wrong long password") as stranger,
        Wire(server.url) as nobody,
    ):
        root.ok("GET", GET, experiment_id="0")
        assert stranger.call("GET", GET, experiment_id="0").status == 401
        statuses = {
            path: nobody.ask("GET", path).status
            for path in ("/livez", "/readyz", "/health", "/metrics", "/version", "/nowhere")
        }
    assert statuses == {
        "/livez": 200,
        "/readyz": 200,
        "/health": 200,
        "/metrics": 401,
        "/version": 401,
        "/nowhere": 401,
    }


@pytest.mark.parametrize("place", ["in the tracking database", "in a file"])
def test_the_supervisor_makes_the_admin_once(place: str, postgres_uri: str, tmp_path: Path) -> None:
    """Its processes then check requests; one warning, not one per process."""
    users = f"sqlite:///{tmp_path}/users.db" if place == "in a file" else postgres_uri
    environment = auth_environment(tmp_path, users, spare="x")
    options = (*APP, "--workers", "2")
    with headrace(postgres_uri, tmp_path, *options, environment=environment) as server:
        for _ in range(6):
            with Person(server.url) as root, Wire(server.url) as nobody:
                root.ok("GET", GET, experiment_id="0")
                assert nobody.ask("GET", f"/api/{GET}?experiment_id=0").status == 401
        log = server.log()
        assert log.count("created the admin") == 1
        assert log.count("spare in") == 1
