"""The login at an OpenID provider in Chromium: its redirects, cookies and Sec-Fetch headers are real."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.fix_oidc import provider
from tests.fix_server import headrace

playwright = pytest.importorskip("playwright.sync_api")
if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
USERS = {
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret key of the server",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "a long password of the admin",
    "HEADRACE_OIDC_CLIENT_SECRET": "the secret of the client",
}
# A form and a script of another page, on another port of the same host: the same site.
CHANGE = """
async (url) => {
  const asked = await fetch(url, {
    method: "POST", credentials: "include", mode: "no-cors",
    headers: {"content-type": "text/plain"}, body: JSON.stringify({name: "of another page"}),
  });
  return asked.type;
}
"""


def test_a_browser_logs_in_uses_the_page_and_logs_out(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with provider(tmp_path) as found:
        found.set_user("u1", preferred_username="ann")
        options = ("--app-name", "basic-auth", "--oidc-issuer", found.issuer)
        options += ("--oidc-client-id", "page")
        with (
            headrace(uri, tmp_path, *options, environment=USERS) as server,
            playwright.sync_playwright() as driver,
        ):
            browser = driver.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_context().new_page()
            page.goto(server.url + "/?from=here")
            assert page.url.startswith(found.issuer)
            page.fill("input[name=sub]", "u1")
            page.click("text=Authorize >> nth=-1")
            page.wait_for_url(server.url + "/?from=here*")
            assert "from=here" in page.url
            page.wait_for_selector("text=Experiments")
            (cookie,) = page.context.cookies(server.url)
            assert (cookie["name"], cookie["httpOnly"]) == ("headrace_session", True)
            assert cookie["sameSite"] == "Lax"

            # The page's own script may change data; that of another page may not.
            create = server.url + "/ajax-api/2.0/mlflow/experiments/create"
            made = page.evaluate(
                "async (url) => (await fetch(url, {method: 'POST', body: '{\"name\": \"own\"}',"
                " headers: {'content-type': 'application/json'}})).status",
                create,
            )
            assert made == 200
            other = page.context.new_page()
            other.goto(found.issuer + "/jwks")
            refused: list[int] = []
            page.context.on(
                "response",
                lambda answer: refused.append(answer.status) if answer.url == create else None,
            )
            assert other.evaluate(CHANGE, create) == "opaque"
            other.wait_for_timeout(500)
            assert refused == [401]
            names = page.evaluate(
                "async (url) => (await (await fetch(url)).json()).experiments.map(e => e.name)",
                server.url + "/ajax-api/2.0/mlflow/experiments/search?max_results=10",
            )
            assert sorted(names) == ["Default", "own"]

            page.goto(server.url + "/oidc/logout")
            assert page.url.startswith(found.issuer + "/oauth2/end_session")
            assert page.context.cookies(server.url) == []
            page.goto(server.url + "/")
            assert page.url.startswith(found.issuer)
            browser.close()
