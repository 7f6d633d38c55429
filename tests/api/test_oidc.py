"""Users of an OpenID provider: bearer tokens of clients, and the login of the page."""

from __future__ import annotations

import base64
import hmac
import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey
from tests.fix_oidc import Browser, Provider, provider
from tests.fix_server import Server, headrace
from tests.wire import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENT = "headrace-page"
AUDIENCE = "headrace-api"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"
SERVERS = "/api/3.0/mlflow/mcp-servers"  # stock MLflow answers it
CREATE = "/ajax-api/2.0/mlflow/experiments/create"
ADMIN = "Basic " + base64.b64encode(b"admin:a long password of the admin").decode()
USERS = {
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret key of the server",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "a long password of the admin",
    "HEADRACE_OIDC_CLIENT_SECRET": "the secret of the client",
}


class Team:
    """A server with users, its provider, and the database of users."""

    def __init__(self, server: Server, provider: Provider, directory: Path) -> None:
        self.server = server
        self.provider = provider
        self.file = directory / "mlflow.db"

    def ask(self, token: str, target: str = SEARCH, body: Any = None) -> Answer:
        """The answer to a client with a bearer token."""
        return self.send({"authorization": f"Bearer {token}"}, target, body)

    def send(self, headers: dict[str, str], target: str = SEARCH, body: Any = None) -> Answer:
        """The answer to a request with these headers."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers}
        with Wire(self.server.url) as wire:
            return wire.ask("GET" if data is None else "POST", target, data, sent)

    def query(self, statement: str, *values: Any) -> list[Any]:
        """Rows of the database, or a change of it."""
        with closing(sqlite3.connect(self.file)) as db, db:
            return db.execute(statement, values).fetchall()

    def roles(self, name: str) -> set[str]:
        """The names of a user's roles."""
        rows = self.query(
            "SELECT r.name FROM roles AS r JOIN user_role_assignments AS a ON a.role_id = r.id"
            " JOIN users AS u ON u.id = a.user_id WHERE u.username = ?",
            name,
        )
        return {row[0] for row in rows}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    directory = tmp_path_factory.mktemp("oidc")
    config = directory / "basic_auth.ini"
    uri = f"sqlite:///{directory}/mlflow.db"
    config.write_text(
        f"[mlflow]\ndefault_permission = READ\nadmin_username = admin\ndatabase_uri = {uri}\n"
    )
    options = ("--app-name", "basic-auth", "--oidc-client-id", CLIENT)
    options += ("--oidc-audience", f"{AUDIENCE},other-api", "--oidc-groups-claim", "groups")
    options += ("--auth-group-roles", "team=editors,ops=operators", "--auth-admin-groups", "admins")
    environment = USERS | {"MLFLOW_AUTH_CONFIG_PATH": str(config)}
    with (
        provider(directory) as found,
        headrace(
            uri, directory, *options, "--oidc-issuer", found.issuer, environment=environment
        ) as server,
    ):
        team = Team(server, found, directory)
        for role in ("editors", "operators", "others"):
            team.query("INSERT INTO roles (name, workspace) VALUES (?, 'default')", role)
        yield team


# clients


def test_a_client_logs_in_with_a_token_of_the_provider(team: Team) -> None:
    team.provider.set_user("u1", preferred_username="client-1")
    token = team.provider.token("u1", AUDIENCE)
    for _ in range(3):
        assert team.ask(token).status == 200
    assert team.query("SELECT count(*) FROM users WHERE username = 'client-1'") == [(1,)]
    ((stored, is_admin),) = team.query(
        "SELECT password_hash, is_admin FROM users WHERE username = 'client-1'"
    )
    assert stored.startswith("!")
    assert not is_admin
    assert team.ask(token, "/ajax-api/3.0/mlflow/demo/delete", {}).status == 403
    made = team.ask(token, CREATE, {"name": "of a client"})
    assert made.status == 200, str(made)


def test_stock_mlflow_knows_the_user_of_a_token_and_of_a_session(team: Team) -> None:
    team.provider.set_user("u5", preferred_username="bridged@example.com")
    token = team.provider.token("u5", AUDIENCE)
    assert team.ask(token, SERVERS).status == 200
    browser = logged_in(team, "u5")
    assert browser.fetch("GET", team.server.url + SERVERS).status == 200
    assert browser.fetch("GET", team.server.url + SERVERS, sec_fetch_site="same-site").status == 401


@pytest.mark.parametrize(
    "query",
    [
        "",
        "state=",
        "state=%00&code=%00",
        "state=%ff%fe&code=x",
        "state=" + "%C3%A9" * 43,
        "state=" + "a" * 43,
        "state=" + "-" * 43 + "&code=x",
        "state=" + "a" * 5000 + "&code=" + "b" * 5000,
        "state=a&state=b&code=c&code=d",
        "code[]=x&state[]=y",
        "error=%3Cscript%3E&state=x",
        "iss=x",
        "&&&=&=",
    ],
)
@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "headrace_login_=x",
        "headrace_login_aaaaaaaa=x.y; headrace_login_--------=.",
        "headrace_login_aaaaaaaa=" + "e30." + "0" * 64,
        "=; ; ==;\x80",
        "a=b;" * 2000,
    ],
)
def test_odd_callbacks_are_refused(team: Team, query: str, cookie: str) -> None:
    with Wire(team.server.url) as wire:
        answer = wire.ask("GET", "/oidc/callback?" + query, None, {"cookie": cookie})
    assert answer.status == 403, str(answer)
    assert b"<script>" not in answer.body


@pytest.mark.parametrize(
    "cookie", ["headrace_session=x", "headrace_session=hrt1_", "headrace_session=\x80", "=", ";"]
)
def test_odd_sessions_are_refused(team: Team, cookie: str) -> None:
    assert team.send({"cookie": cookie}).status == 401


def test_groups_give_and_take_roles_and_the_admin_flag(team: Team) -> None:
    def log_in(*groups: str) -> tuple[set[str], bool]:
        team.provider.set_user("u2", preferred_username="member", groups=list(groups))
        assert team.ask(team.provider.token("u2", AUDIENCE)).status == 200
        ((is_admin,),) = team.query("SELECT is_admin FROM users WHERE username = 'member'")
        return team.roles("member"), bool(is_admin)

    assert log_in("team", "unknown") == ({"editors"}, False)
    team.query(
        "INSERT INTO user_role_assignments (user_id, role_id) SELECT u.id, r.id FROM users AS u,"
        " roles AS r WHERE u.username = 'member' AND r.name = 'others'"
    )
    assert log_in("ops", "admins") == ({"operators", "others"}, True)
    assert log_in() == ({"others"}, False)


def test_a_token_without_the_claim_leaves_the_roles(team: Team) -> None:
    team.provider.set_user("u3", preferred_username="kept", groups=["team"])
    assert team.ask(team.provider.token("u3", AUDIENCE)).status == 200
    team.provider.set_user("u3", preferred_username="kept")
    assert team.ask(team.provider.token("u3", AUDIENCE)).status == 200
    assert team.roles("kept") == {"editors"}


def test_a_deleted_user_gets_in_no_more_with_the_same_request(team: Team) -> None:
    team.provider.set_user("u4", preferred_username="gone")
    token = team.provider.token("u4", AUDIENCE)
    assert team.ask(token).status == 200
    team.query("DELETE FROM users WHERE username = 'gone'")
    assert team.ask(token).status == 401


def test_tokens_that_are_not_for_this_server_are_refused(team: Team, tmp_path: Path) -> None:
    assert team.ask(team.provider.token("u1", "another-api")).status == 401
    assert team.ask(team.provider.token("u1", CLIENT)).status == 401  # an ID token of the page
    with provider(tmp_path) as other:
        assert team.ask(other.token("u1", AUDIENCE)).status == 401


def test_forged_tokens_are_refused(team: Team) -> None:
    (public,) = team.provider.keys()
    token = team.provider.token("u1", AUDIENCE)
    header, payload, signature = token.split(".")
    own = RSAKey.generate_key(2048, {"kid": public["kid"]})
    now_s = int(time.time())
    claims = {"iss": team.provider.issuer, "aud": AUDIENCE, "sub": "admin", "exp": now_s + 600}
    body = json.dumps(claims).encode()
    pem = RSAKey.import_key(public).as_pem(private=False)
    start = segment({"alg": "HS256", "typ": "JWT"}) + "." + payload
    forged = (
        jws.serialize_compact({"alg": "RS256", "kid": public["kid"]}, body, own),
        jws.serialize_compact({"alg": "RS256"}, body, own),
        jws.serialize_compact({"alg": "RS256", "jwk": own.as_dict(private=False)}, body, own),
        jws.serialize_compact({"alg": "RS256", "kid": "../../dev/null"}, body, own),
        f"{segment({'alg': 'none'})}.{payload}.",
        f"{segment({'alg': 'None'})}.{payload}.{signature}",
        f"{start}.{segment(hmac.digest(pem, start.encode(), 'sha256'))}",
        f"{header}.{segment(claims)}.{signature}",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{header}.{payload}",
        token + ".x",
        token + "A" * 20_000,
        "",
        "x",
    )
    for text in forged:
        answer = team.ask(text)
        assert answer.status == 401, text[:60]
        assert answer.headers["www-authenticate"]
    assert team.ask(token).status == 200
    # No token and no claim is in the log.
    assert payload not in team.server.log()
    assert "reason" in team.server.log()


def test_an_expired_token_is_refused(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with provider(tmp_path, "--token-max-age", "-61") as found:
        options = ("--app-name", "basic-auth", "--oidc-issuer", found.issuer)
        options += ("--oidc-audience", AUDIENCE)
        with headrace(uri, tmp_path, *options, environment=USERS) as server:
            team = Team(server, found, tmp_path)
            assert team.ask(found.token("u1", AUDIENCE)).status == 401
            # Without a client the page has no login.
            assert team.send({"accept": "text/html"}, "/").status == 401
            assert team.send({"authorization": ADMIN}, "/oidc/login").status == 404


def test_a_provider_that_is_down_delays_and_refuses_only_its_users(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    options = ("--app-name", "basic-auth", "--oidc-issuer", "http://127.0.0.1:9")
    options += ("--oidc-audience", AUDIENCE, "--oidc-client-id", CLIENT)
    claims = {"iss": "http://127.0.0.1:9", "aud": AUDIENCE, "exp": int(time.time()) + 600}
    key = RSAKey.generate_key(2048)
    token = jws.serialize_compact({"alg": "RS256"}, json.dumps(claims).encode(), key)
    with headrace(uri, tmp_path, *options, environment=USERS) as server:
        team = Team(server, Provider(server), tmp_path)
        answer = team.ask(token)
        assert (answer.status, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert Browser().open(server.url + "/").status == 503
        assert team.send({"authorization": ADMIN}).status == 200
        assert "the OpenID provider http://127.0.0.1:9" in server.log()


def segment(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


# the page


def logged_in(team: Team, sub: str, path: str = "/") -> Browser:
    """A browser that has logged in."""
    browser = Browser()
    page = browser.open(team.server.url + path)
    assert page.status == 200, str(page)
    assert browser.address.startswith(team.provider.issuer + "/oauth2/authorize?")
    page = browser.submit(browser.address, {"sub": sub})
    assert page.status == 200, str(page)
    return browser


def test_the_page_leads_to_the_login_and_back(team: Team) -> None:
    team.provider.set_user("p1", preferred_username="page-1", groups=["team"])
    browser = logged_in(team, "p1", "/?from=a%20link")
    assert browser.address == team.server.url + "/?from=a%20link"
    assert team.roles("page-1") == {"editors"}
    url = team.server.url
    assert browser.fetch("GET", url + SEARCH).status == 200
    current = browser.fetch("GET", url + "/ajax-api/2.0/mlflow/users/current").json()
    assert (current["user"]["username"], current["is_basic_auth"]) == ("page-1", False)
    assert browser.fetch("POST", url + CREATE, {"name": "of the page"}).status == 200
    query = {"query": "query q {__typename}", "operationName": "q"}
    assert browser.fetch("POST", url + "/graphql", query).status != 401
    (name,) = browser.cookies[url.removeprefix("http://")]
    assert name == "headrace_session"


def test_a_script_without_a_session_is_not_asked_for_a_password(team: Team) -> None:
    answer = Browser().fetch("GET", team.server.url + SEARCH)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="mlflow"')
    answer = team.send({})
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="mlflow"')
    answer = team.send({"accept": "text/html"}, "/")
    assert (answer.status, answer.headers["location"]) == (302, "/oidc/login?next=/")


def test_other_pages_cannot_use_a_session(team: Team) -> None:
    browser = logged_in(team, "p1")
    url = team.server.url
    body = {"name": "of another page"}
    for headers in (
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"},
    ):
        assert browser.fetch("POST", url + CREATE, body, **headers).status == 401
        assert browser.fetch("POST", url + "/graphql", {"query": "{x}"}, **headers).status == 401
    plain = {"origin": "http://localhost:1", "content-type": "application/json"}
    data = json.dumps(body).encode()
    assert browser.ask("POST", url + CREATE, data, plain).status == 401
    assert (
        browser.ask("POST", url + CREATE, data, {"content-type": "application/json"}).status == 401
    )


def test_a_login_cannot_be_replayed_or_moved_to_another_browser(team: Team) -> None:
    browser = Browser()
    browser.open(team.server.url + "/")
    netloc = team.server.url.removeprefix("http://")
    begun = dict(browser.cookies[netloc])
    browser.submit(browser.address, {"sub": "p1"})
    callback = next(url for url in browser.visited if "/oidc/callback?" in url)
    again = browser.open(callback)
    assert (again.status, b"The login failed" in again.body) == (403, True)
    browser.cookies[netloc] = begun  # even with the cookie of the login
    assert browser.open(callback).status == 403
    assert Browser().open(callback).status == 403
    code = callback.partition("code=")[2].partition("&")[0]
    assert code not in team.server.log()


def test_a_stolen_code_is_worthless_in_the_login_of_another_browser(team: Team) -> None:
    victim = Browser()
    victim.open(team.server.url + "/")
    state = victim.address.partition("state=")[2].partition("&")[0]
    code = team.provider.code("admin", CLIENT)
    query = urlencode({"code": code, "state": state})
    assert victim.open(f"{team.server.url}/oidc/callback?{query}").status == 403


def test_a_refusal_of_the_provider_is_shown(team: Team) -> None:
    browser = Browser()
    browser.open(team.server.url + "/")
    state = browser.address.partition("state=")[2].partition("&")[0]
    # This provider leaves the state out.
    query = urlencode({"error": "access_denied", "error_description": "<b>no</b>", "state": state})
    page = browser.open(f"{team.server.url}/oidc/callback?{query}")
    assert page.status == 403
    assert b"the provider refused the login" in page.body
    assert b"<b>" not in page.body


def test_a_session_ends_with_a_logout_a_new_password_or_the_user(team: Team) -> None:
    url = team.server.url
    team.provider.set_user("p2", preferred_username="page-2")
    browser = logged_in(team, "p2")
    team.query("UPDATE users SET password_hash = '!other' WHERE username = 'page-2'")
    assert browser.fetch("GET", url + SEARCH).status == 401
    browser = logged_in(team, "p2")
    team.query("DELETE FROM users WHERE username = 'page-2'")
    assert browser.fetch("GET", url + SEARCH).status == 401
    browser = logged_in(team, "p2")
    kept = browser.fetch("GET", url + "/oidc/logout", sec_fetch_site="cross-site")
    assert b"Log out?" in kept.body
    assert browser.fetch("GET", url + SEARCH).status == 200
    browser.open(url + "/oidc/logout")
    assert browser.address.startswith(team.provider.issuer + "/oauth2/end_session?client_id=")
    assert browser.fetch("GET", url + SEARCH).status == 401


def test_a_login_does_not_lead_to_another_server(team: Team) -> None:
    for path in ("//evil.example.com", "https://evil.example.com", "/\\evil.example.com"):
        browser = logged_in(team, "p1", "/oidc/login?" + urlencode({"next": path}))
        assert browser.address == team.server.url + "/"
