"""Which requests a session of a browser counts in, and where a login may lead."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.auth.authority import Unauthenticated
from headrace.auth.oidc_login import local_path
from headrace.auth.sessions import NAME, SECURE_NAME, Sessions, cookies, is_https
from headrace.auth.tokens import Tokens
from headrace.http.messages import Request

KEY = "a secret key of the server"


class Row:
    """The row of a user."""

    def __init__(self, password_hash: str = "!") -> None:
        self.id = 7
        self.is_admin = False
        self.password_hash = password_hash


SESSIONS = Sessions(KEY, 3600)


def head(method: str, path: str = "/x", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, "", {"host": "mlflow.example.com", **named})


def session(secure: bool = False) -> str:
    return SESSIONS.cookie("ann", Row(), secure=secure).partition(";")[0]


OWN = "http://mlflow.example.com"


@pytest.mark.parametrize(
    ("method", "path", "headers", "counts"),
    [
        ("GET", "/x", {}, True),
        ("GET", "/x", {"sec_fetch_site": "same-origin"}, True),
        ("GET", "/x", {"sec_fetch_site": "none", "sec_fetch_mode": "navigate"}, True),
        ("GET", "/x", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, True),
        ("GET", "/x", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, False),
        ("GET", "/x", {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"}, False),
        ("GET", "/x", {"origin": "http://localhost:8888"}, False),
        ("GET", "/x", {"origin": OWN}, True),
        ("POST", "/x", {}, False),
        ("POST", "/x", {"origin": OWN}, True),
        ("POST", "/x", {"origin": "null"}, False),
        ("POST", "/x", {"origin": "http://mlflow.example.com.evil.com"}, False),
        ("POST", "/x", {"origin": "http://[::1"}, False),
        ("POST", "/x", {"sec_fetch_site": "same-origin"}, True),
        ("POST", "/x", {"sec_fetch_site": "same-site", "origin": OWN}, False),
        ("POST", "/x", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, False),
        ("DELETE", "/x", {"sec_fetch_site": "cross-site"}, False),
        ("GET", "/graphql", {}, False),
        ("GET", "/graphql", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, False),
        ("POST", "/graphql", {"sec_fetch_site": "same-origin"}, True),
    ],
)
async def test_a_session_counts_only_in_requests_of_this_page(
    method: str, path: str, headers: dict[str, str], counts: bool
) -> None:
    request = head(method, path, cookie=session(), **headers)
    if counts:
        caller = await SESSIONS.identify(request)
        assert caller is not None
        assert caller.name == "ann"
    else:
        with pytest.raises(Unauthenticated, match="another page"):
            await SESSIONS.identify(request)


async def test_a_session_ends_with_a_new_password_or_another_row() -> None:
    caller = await SESSIONS.identify(head("GET", cookie=session()))
    assert caller is not None
    await caller.confirm(Row())
    for account in (Row("!2"), None):
        with pytest.raises(Unauthenticated):
            await caller.confirm(account)


async def test_tokens_and_sessions_do_not_replace_each_other() -> None:
    token = Tokens(KEY).issue("ann", Row(), 1)
    with pytest.raises(Unauthenticated):
        await SESSIONS.identify(head("GET", cookie=f"{NAME}={token}"))
    with pytest.raises(Unauthenticated):
        Tokens(KEY).read(session().partition("=")[2])


async def test_with_https_only_the_cookie_counts_that_no_other_host_can_set() -> None:
    assert SECURE_NAME in session(secure=True)
    plain = head("GET", cookie=session(), x_forwarded_proto="https")
    assert await SESSIONS.identify(plain) is None
    right = head("GET", cookie=session(secure=True), x_forwarded_proto="https")
    assert await SESSIONS.identify(right) is not None
    for request in (head("GET"), head("GET", cookie="a=b"), head("GET", cookie=f"{NAME}=")):
        assert await SESSIONS.identify(request) is None


@pytest.mark.parametrize(
    "value",
    ["x", "hrt1_", "hrt1_AAAA", "hrt1_é", session()[-20:]],
    ids=["no prefix", "empty", "short", "not ASCII", "end of a session"],
)
async def test_a_forged_session_is_refused(value: str) -> None:
    with pytest.raises(Unauthenticated):
        await SESSIONS.identify(head("GET", cookie=f"a=b; {NAME}={value}"))


def test_cookies_of_other_servers_do_no_harm() -> None:
    found = cookies(head("GET", cookie='x="a; b"; ; =; y; {"z":1}=2;headrace_session=t; a=b=c'))
    assert found[NAME] == "t"
    assert found["a"] == "b=c"
    assert cookies(head("GET", cookie="a=b; " * 10_000)) == {}


def test_the_attributes_of_the_cookie() -> None:
    text = SESSIONS.cookie("ann", Row(), secure=True)
    for attribute in ("Max-Age=3600", "Path=/", "HttpOnly", "SameSite=Lax", "Secure"):
        assert attribute in text.split("; ")
    assert "Secure" not in SESSIONS.cookie("ann", Row(), secure=False)
    assert "Max-Age=0" in SESSIONS.end(secure=False)


def test_the_scheme_of_the_browser() -> None:
    assert not is_https(head("GET"))
    assert is_https(head("GET", x_forwarded_proto="https, http"))
    request: Any = head("GET")
    request.scheme = "https"
    assert is_https(request)


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/", "/"),
        ("/mlflow/?a=b&c=%20#/experiments/1", "/mlflow/?a=b&c=%20#/experiments/1"),
        ("", "/"),
        ("x", "/"),
        ("//evil.example.com", "/"),
        ("/\\evil.example.com", "/"),
        ("/a\\b", "/"),
        ("https://evil.example.com", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
        ("/\t/evil.example.com", "/"),
        ("/é", "/"),
        ("/" + "a" * 5000, "/"),
    ],
)
def test_a_login_leads_only_to_this_server(path: str, leads_to: str) -> None:
    assert local_path(path) == leads_to
