"""A public OpenID client: without a secret, only with PKCE; its users on both kinds of databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.stored import rows
from tests.fix_oidc import Browser, provider
from tests.fix_server import headrace
from tests.fix_users import auth_environment

if TYPE_CHECKING:
    from pathlib import Path

CLIENT = "headrace-page"
CREATE = "/ajax-api/2.0/mlflow/experiments/create"


def test_a_public_client_logs_its_users_in(uri: str, tmp_path: Path) -> None:
    with provider(tmp_path, is_public=True) as found:
        options = ("--app-name", "basic-auth", "--oidc-client-id", CLIENT)
        options += ("--oidc-groups-claim", "groups")
        options += ("--oidc-issuer", found.issuer, "--auth-group-roles", "team=editors")
        environment = auth_environment(tmp_path, uri)
        with headrace(uri, tmp_path, *options, environment=environment) as server:
            found.set_user("p1", preferred_username="page-1", groups=["team"])
            browser = Browser()
            browser.open(server.url + "/")
            assert "code_challenge_method=S256" in browser.address
            page = browser.submit(browser.address, {"sub": "p1"})
            assert page.status == 200, str(page)
            made = browser.fetch("POST", server.url + CREATE, {"name": "of the page"})
            assert made.status == 200, str(made)
    names = rows(uri, "SELECT username FROM users WHERE password_hash LIKE '!%'")
    assert names == [("page-1",)]
    granted = rows(
        uri,
        "SELECT p.resource_type, p.resource_pattern, p.permission FROM role_permissions p"
        " JOIN user_role_assignments a ON a.role_id = p.role_id"
        " JOIN users u ON u.id = a.user_id WHERE u.username = 'page-1'",
    )
    assert granted == [("experiment", made.json()["experiment_id"], "MANAGE")]
