"""A real nginx that has logged people in, in front of a server with users."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import Server, base_environment, free_port, headrace
from tests.fix_users import PASSWORD, Person, auth_environment
from tests.waiting import eventually
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx (apt-get install nginx)")
OPTIONS = (
    "--app-name", "basic-auth", "--log-format", "json",
    "--auth-proxy-header", "X-Forwarded-User",
    "--auth-proxy-groups-header", "X-Forwarded-Groups",
    "--auth-group-roles", "vision=editors",
    "--auth-admin-groups", "ops",
    "--auth-proxy-networks", "127.0.0.1",
)  # fmt: skip
# nginx knows the people; the provider behind oauth2-proxy does so in the same way.
CONFIGURATION = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map $remote_user $groups {{ ann "vision,other"; eve ""; olga "ops"; }}
    server {{
        listen 127.0.0.1:{port};
        auth_basic "MLflow"; auth_basic_user_file {directory}/people;
        client_max_body_size 0;
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_set_header Host localhost;
            proxy_set_header Authorization "";
            proxy_set_header X-Forwarded-User $remote_user;
            proxy_set_header X-Forwarded-Groups $groups;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}
}}
"""
PEOPLE = ("ann", "eve", "olga", "root")
CREATE = "/api/2.0/mlflow/experiments/create"


def nginx(directory: Path, upstream: int) -> Server:
    """A running nginx, which knows the passwords of PEOPLE."""
    port = free_port()
    lines = [f"{name}:{{PLAIN}}{PASSWORD}" for name in PEOPLE]
    (directory / "people").write_text("\n".join(lines) + "\n")
    text = CONFIGURATION.format(directory=directory, port=port, upstream=upstream)
    (directory / "nginx.conf").write_text(text)
    assert NGINX is not None
    argv = [NGINX, "-p", str(directory), "-c", str(directory / "nginx.conf")]
    return Server("nginx", argv, directory, base_environment(), port)


class Front:
    """The proxy and the server behind it."""

    def __init__(self, proxy: Server, server: Server) -> None:
        self.proxy = proxy
        self.server = server


@pytest.fixture
def front(uri: str, tmp_path: Path) -> Iterator[Front]:
    environment = auth_environment(tmp_path, uri, default_permission="NO_PERMISSIONS")
    with headrace(uri, tmp_path, *OPTIONS, environment=environment) as server:
        with Person(server.url) as root:
            made = root.ok("POST", "3.0/mlflow/roles/create", name="editors", workspace="default")
            grant = {"resource_type": "experiment", "resource_pattern": "*", "permission": "EDIT"}
            root.ok("POST", "3.0/mlflow/roles/permissions/add", role_id=made["role"]["id"], **grant)
        directory = tmp_path / "nginx"
        directory.mkdir()
        proxy = nginx(directory, int(server.url.rpartition(":")[2]))
        try:
            eventually(lambda: _answers(proxy), what="nginx answers")
            yield Front(proxy, server)
        finally:
            proxy.kill()


def _answers(proxy: Server) -> bool:
    assert proxy.process.poll() is None, proxy.log()
    with contextlib.suppress(OSError), Wire(proxy.url) as wire:
        return wire.ask("GET", "/livez").status == 401  # nginx asks for a password
    return False


def test_people_are_whom_the_proxy_names_with_the_roles_of_their_groups(front: Front) -> None:
    update = "/api/2.0/mlflow/experiments/set-experiment-tag"
    tag = json.dumps({"experiment_id": "0", "key": "a", "value": "b"}).encode()
    read = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    for name, may_read, may_edit in (("ann", 200, 200), ("eve", 403, 403), ("olga", 200, 200)):
        with Person(front.proxy.url, name) as person:
            seen = person.send("GET", "/api/2.0/mlflow/users/current").json()["user"]
            assert (seen["username"], seen["is_admin"]) == (name, name == "olga")
            assert person.send("GET", read).status == may_read, name
            assert person.send("POST", update, tag).status == may_edit, name
    with Person(front.proxy.url, "ann", "a wrong password") as person:
        assert person.send("GET", read).status == 401


def test_a_client_cannot_name_another_user_through_the_proxy(front: Front) -> None:
    """Headers of the client are replaced; spellings that nginx passes on mean nothing."""
    forged = (
        {"X-Forwarded-User": "root"},
        {"x-forwarded-USER": "root"},
        {"X_Forwarded_User": "root"},
        {"X-Forwarded-User ": "root"},
        {"X-Forwarded-User2": "root", "X-Remote-User": "root", "Remote-User": "root"},
        {"X-Forwarded-Groups": "ops"},
        {"X_Forwarded_Groups": "ops"},
        {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"},
        {"Connection": "X-Forwarded-User"},
    )
    pair = base64.b64encode(f"eve:{PASSWORD}".encode()).decode()
    login = {"Authorization": f"Basic {pair}"}
    for headers in forged:
        with Wire(front.proxy.url) as eve:
            answer = eve.ask("GET", "/api/2.0/mlflow/users/current", None, login | headers)
        if answer.status == 200:
            user = answer.json()["user"]
            assert (user["username"], user["is_admin"]) == ("eve", False), headers
        else:
            assert answer.status in (400, 401), headers


def test_another_spelling_of_the_header_names_nobody(front: Front) -> None:
    """Sent by the trusted address itself, past the proxy."""
    for name in ("X_Forwarded_User", "HTTP_X_FORWARDED_USER", "X-Forwarded_User"):
        with Wire(front.server.url) as wire:
            assert wire.ask("GET", "/metrics", None, {name: "root"}).status == 401, name


def test_artifacts_and_tokens_pass_through_the_proxy(front: Front) -> None:
    with Person(front.proxy.url, "ann") as ann:
        made = ann.send("POST", CREATE, json.dumps({"name": "of ann"}).encode())
        number = made.json()["experiment_id"]
        path = f"/api/2.0/mlflow-artifacts/artifacts/{number}/file.bin"
        content = b"0123456789" * 100_000
        assert ann.send("PUT", path, content).status == 200
        assert ann.send("GET", path).body == content
    with Person(front.proxy.url, "eve") as eve:
        assert eve.send("GET", path).status == 403
        assert eve.send("PUT", path, b"x").status == 403
    log = front.server.log()
    assert base64.b64encode(PASSWORD.encode()).decode() not in log
