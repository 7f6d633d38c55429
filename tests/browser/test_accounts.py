"""The Admin and Account views of MLflow's page on headrace, in a real browser.

`make browser` runs this; screenshots go to HEADRACE_TEST_SCREENSHOTS.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import pytest
from tests.browser.chromium import CHROMIUM, SIZE, browser
from tests.fix_logins import ADMIN, ADMIN_PASSWORD, PASSWORD, Client, with_users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page
    from tests.fix_server import Server

__all__ = ["browser"]  # a fixture
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.timeout(300),
]
WAIT_MS: Final = 60_000
NEW_PASSWORD: Final = "another-password"
# Answers of headrace that the page also gets from stock.
EXPECTED: Final = {
    "401 /",  # the browser asks for a password
    "401 /ajax-api/2.0/mlflow/users/current",  # log-out
    "503 /ajax-api/3.0/mlflow/workspaces",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with users."""
    directory = tmp_path_factory.mktemp("accounts")
    with with_users(f"sqlite:///{directory}/mlflow.db", directory) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    """A connection, to prepare and to check."""
    with closing(Client(server.url)) as connected:
        yield connected


class Visitor:
    """A browser window of one user."""

    def __init__(
        self, browser: Browser, server: Server, name: str, password: str = PASSWORD
    ) -> None:
        self.url = server.url
        self.complaints: list[str] = []
        self._context = browser.new_context(viewport=SIZE)  # type: ignore[arg-type]
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on("response", self._note)
        # The browser keeps the password for the other requests, as after its own dialog.
        login = f"{quote(name)}:{quote(password)}@"
        self.page.goto(self.url.replace("http://", f"http://{login}"))

    def _note(self, response: Any) -> None:
        if response.status >= 400:
            path = urlsplit(response.url).path
            self.complaints.append(f"{response.status} {path}")

    def show(self, place: str) -> Page:
        """Open a view."""
        self.page.goto(f"{self.url}/#/{place}")
        return self.page

    def leave(self, screenshot: str = "") -> None:
        """Close the window; the page must not have complained."""
        folder = os.environ.get("HEADRACE_TEST_SCREENSHOTS")
        if folder and screenshot:
            self.page.wait_for_timeout(1500)
            self.page.screenshot(path=f"{folder}/{screenshot}.png")
        self._context.close()
        assert set(self.complaints) <= EXPECTED


def test_an_admin_lists_and_creates_users(browser: Browser, server: Server, client: Client) -> None:
    client.add_user("listed")
    visitor = Visitor(browser, server, ADMIN, ADMIN_PASSWORD)
    page = visitor.show("admin")
    page.get_by_role("link", name="listed").wait_for()
    page.get_by_role("button", name="Create User").click()
    page.get_by_placeholder("Enter username").fill("created")
    page.get_by_placeholder("Enter password").fill(PASSWORD)
    page.get_by_role("button", name="Create user", exact=True).click()
    page.get_by_role("link", name="created").wait_for()
    visitor.leave("admin-users")
    assert client.ok("created", "GET", "/ajax-api/2.0/mlflow/users/current")["user"]["id"] > 1


def test_an_admin_grants_a_permission_and_makes_an_admin(
    browser: Browser, server: Server, client: Client
) -> None:
    client.add_user("promoted")
    visitor = Visitor(browser, server, ADMIN, ADMIN_PASSWORD)
    page = visitor.show("admin/users/promoted")
    page.get_by_role("button", name="Edit access").click()
    page.get_by_label("All experiments").check()
    page.locator("#admin-direct-permission-level").click()
    page.get_by_role("option", name="EDIT").click()
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("switch").click()
    page.get_by_role("button", name="Review changes").click()
    page.get_by_role("button", name="Apply changes").click()
    page.get_by_role("dialog").wait_for(state="hidden")
    page.get_by_role("tab", name="Permissions").click()
    page.get_by_text("experiment:all").wait_for()
    visitor.leave("admin-user")
    found = client.ok("promoted", "GET", "/ajax-api/3.0/mlflow/users/current/permissions")
    assert found["is_admin"] is True
    (row,) = found["permissions"]
    assert (row["resource_type"], row["resource_pattern"], row["permission"]) == (
        "experiment",
        "*",
        "EDIT",
    )


def test_an_admin_makes_a_role_with_a_permission_and_a_user(
    browser: Browser, server: Server, client: Client
) -> None:
    client.add_user("member")
    visitor = Visitor(browser, server, ADMIN, ADMIN_PASSWORD)
    page = visitor.show("admin")
    page.get_by_role("tab", name="Roles").click()
    page.get_by_role("button", name="Create Role").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_placeholder("Enter role name").fill("readers")
    dialog.get_by_placeholder("Enter description (optional)").fill("those who read")
    dialog.get_by_role("button", name="Permissions").click()
    dialog.get_by_label("All experiments").check()
    dialog.get_by_role("button", name="Add", exact=True).click()
    dialog.get_by_role("button", name="Assign users").click()
    dialog.get_by_role("combobox", name="Users").click()
    page.get_by_role("option", name="member").click()
    page.keyboard.press("Escape")
    dialog.get_by_role("button", name="Create role", exact=True).click()
    page.get_by_text("those who read").wait_for()
    visitor.leave("admin-roles")
    (role,) = client.ok("member", "GET", "/ajax-api/3.0/mlflow/users/roles/list?username=member")[
        "roles"
    ]
    assert role["name"] == "readers"
    assert role["permissions"][0]["resource_type"] == "experiment"


def test_an_admin_deletes_a_user(browser: Browser, server: Server, client: Client) -> None:
    client.add_user("deleted")
    visitor = Visitor(browser, server, ADMIN, ADMIN_PASSWORD)
    page = visitor.show("admin")
    page.get_by_label("Select user deleted").check()
    page.get_by_role("button", name="Delete (1)").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_role("link", name="deleted").wait_for(state="hidden")
    visitor.leave("admin-deleted")
    assert client.ask("deleted", "GET", "/ajax-api/2.0/mlflow/users/current").status == 401


def test_a_user_changes_the_password(browser: Browser, server: Server, client: Client) -> None:
    client.add_user("careful")
    visitor = Visitor(browser, server, "careful")
    page = visitor.show("account")
    page.get_by_text("Logged in as careful").wait_for()
    page.get_by_role("button", name="Change password").click()
    page.get_by_placeholder("Enter current password").fill(PASSWORD)
    page.get_by_placeholder("Enter new password").fill(NEW_PASSWORD)
    page.get_by_placeholder("Confirm new password").fill(NEW_PASSWORD)
    with page.expect_response("**/users/update-password") as changed:
        page.get_by_role("button", name="Update password").click()
    assert changed.value.status == 200
    visitor.leave()  # the page reloads, and the browser asks for the new password
    current = "/ajax-api/2.0/mlflow/users/current"
    assert client.ask("careful", "GET", current).status == 401
    assert client.ask("careful", "GET", current, password=NEW_PASSWORD).status == 200


def test_a_user_sees_the_own_roles_and_no_admin_view(
    browser: Browser, server: Server, client: Client
) -> None:
    client.add_user("plain")
    visitor = Visitor(browser, server, "plain")
    page = visitor.show("account")
    page.get_by_text("You have not been assigned to any roles.").wait_for()
    page.get_by_role("button", name="Account menu for plain").click()
    items = page.get_by_role("menuitem")
    items.first.wait_for()
    assert items.all_inner_texts() == ["Account", "Logout"]
    visitor.leave("account-menu")


def test_a_user_logs_out(browser: Browser, server: Server, client: Client) -> None:
    client.add_user("leaving")
    visitor = Visitor(browser, server, "leaving")
    page = visitor.show("account")
    page.get_by_role("button", name="Account menu for leaving").click()
    with page.expect_response("**/users/current") as answer:
        page.get_by_role("menuitem", name="Logout").click()
    # The request has a wrong password. The browser forgets the right one if it is refused like this.
    assert answer.value.status == 401
    assert answer.value.headers["www-authenticate"] == 'Basic realm="mlflow"'
    visitor.leave()


def test_the_form_without_mlflows_page_adds_a_user(
    browser: Browser, server: Server, client: Client
) -> None:
    visitor = Visitor(browser, server, ADMIN, ADMIN_PASSWORD)
    visitor.page.goto(f"{server.url}/signup")
    page = visitor.page
    page.get_by_label("Username").fill("by-form")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    page.get_by_text("Successfully signed up user: by-form").wait_for()
    visitor.leave("signup")
    assert client.ask("by-form", "GET", "/ajax-api/2.0/mlflow/users/current").status == 200
