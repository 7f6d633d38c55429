"""The page on which an admin adds a user: the form, its token, and what the page may do in a browser."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import pytest
from tests.fix_logins import ADMIN, PASSWORD, Client, basic, with_users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.wire import Answer

FORM: Final = "application/x-www-form-urlencoded"
CREATE: Final = "/api/2.0/mlflow/users/create-ui"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A connection to a server with users; ann is an ordinary user, wanda an admin of the workspace."""
    directory = tmp_path_factory.mktemp("signup")
    uri = f"sqlite:///{directory}/mlflow.db"
    with with_users(uri, directory) as server, closing(Client(server.url)) as connected:
        connected.add_user("ann", "wanda")
        roles = "/api/3.0/mlflow/roles"
        made = connected.ok(ADMIN, "POST", f"{roles}/create", {"name": "w", "workspace": "default"})
        role = {"role_id": made["role"]["id"]}
        granted = {"resource_type": "workspace", "resource_pattern": "*", "permission": "MANAGE"}
        connected.ok(ADMIN, "POST", f"{roles}/permissions/add", role | granted)
        connected.ok(ADMIN, "POST", f"{roles}/assign", role | {"username": "wanda"})
        yield connected


class Page:
    """The form that a user gets, and the cookie that comes with it."""

    def __init__(self, client: Client, who: str = ADMIN, **headers: str) -> None:
        self.client = client
        self.answer = client.ask(who, "GET", "/signup", **headers)
        assert self.answer.status == 200, self.answer
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.answer.body.decode())
        assert found
        self.token = found[1]
        self.cookie = self.answer.headers["set-cookie"].partition(";")[0]

    def send(self, name: str, password: str = PASSWORD, **changed: str) -> Answer:
        """The form as a browser sends it; `changed` are `token`, `cookie`, `who` and `media`."""
        fields = {
            "csrf_token": changed.get("token", self.token),
            "username": name,
            "password": password,
        }
        return self.client.wire.ask(
            "POST",
            CREATE,
            urlencode(fields).encode(),
            {
                "Authorization": basic(changed.get("who", ADMIN)),
                "Content-Type": changed.get("media", FORM),
                "Cookie": changed.get("cookie", self.cookie),
            },
        )


def test_an_admin_adds_a_user_who_can_log_in(client: Client) -> None:
    answer = Page(client).send("by form")
    assert answer.status == 200
    assert "Successfully signed up user: by form" in answer.body.decode()
    current = client.ok("by form", "GET", "/ajax-api/2.0/mlflow/users/current")
    assert current["user"]["username"] == "by form"


def test_a_name_that_is_taken_is_said_on_the_page(client: Client) -> None:
    answer = Page(client).send("ann", "another-long-password")
    assert answer.status == 200
    assert "Username has already been taken: ann" in answer.body.decode()
    assert client.ask("ann", "GET", "/ajax-api/2.0/mlflow/users/current").status == 200


def test_the_form_of_an_answer_can_be_sent_again(client: Client) -> None:
    page = Page(client)
    assert page.send("first").status == 200
    assert page.send("second").status == 200
    other_tab = Page(client, cookie=page.cookie)
    assert other_tab.cookie == page.cookie
    assert page.send("third").status == 200


def test_an_error_is_worded_as_by_stock(client: Client) -> None:
    page = Page(client)
    for name, password in (("", PASSWORD), ("x", ""), ("", "")):
        answer = page.send(name, password)
        assert (answer.status, answer.body) == (400, b"Username and password cannot be empty.")
    answer = page.send("x", "short")
    assert answer.status == 400
    assert answer.json()["message"] == "Password must be at least 12 characters."


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"token": ""}, "The CSRF token is missing."),
        ({"cookie": ""}, "The CSRF session token is missing."),
        ({"cookie": "session=x"}, "The CSRF session token is missing."),
        ({"token": "1." + "0" * 64}, "The CSRF token is invalid."),
        ({"token": "x"}, "The CSRF token is invalid."),
        ({"cookie": "session=" + "0" * 32}, "The CSRF token is invalid."),
        ({"media": "text/plain"}, "The CSRF token is missing."),
        ({"media": "application/json"}, "The CSRF token is missing."),
    ],
)
def test_a_form_of_another_site_adds_nobody(
    client: Client, changed: dict[str, str], message: str
) -> None:
    answer = Page(client).send("forged", **changed)
    assert answer.status == 400
    assert message in answer.body.decode()
    assert client.ask(ADMIN, "GET", "/api/2.0/mlflow/users/get?username=forged").status == 404


def test_the_token_of_another_user_adds_nobody(client: Client) -> None:
    page = Page(client, "wanda")
    answer = page.send("forged", who=ADMIN)
    assert "The CSRF token is invalid." in answer.body.decode()


def test_who_may_see_and_send_the_form(client: Client) -> None:
    assert client.ask("ann", "GET", "/signup").status == 403
    assert client.ask(None, "GET", "/signup").status == 401
    page = Page(client, "wanda")
    for who in ("ann", "wanda"):  # as with stock, an admin of a workspace sees the form only
        assert page.send("forged", who=who).status == 403


def test_a_browser_runs_and_loads_nothing_for_the_page(client: Client) -> None:
    headers = Page(client).answer.headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["cache-control"] == "no-store"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_a_name_is_shown_as_text(client: Client) -> None:
    body = Page(client).send("<script>alert(1)</script>").body.decode()
    assert "<script>" not in body
    assert "&lt;script&gt;" in body
