"""Handlers of the page's login at an OpenID provider (`auth/oidc.py`)."""

from __future__ import annotations

import logging
from html import escape
from typing import TYPE_CHECKING, Final

from headrace.auth import users
from headrace.auth.sessions import OWN_SITES, LoginFailed, cookies, is_https, set_cookie
from headrace.http.messages import Request, Response
from headrace.web.landing import page

if TYPE_CHECKING:
    from headrace.api.context import Context
    from headrace.auth.oidc import Oidc

log = logging.getLogger(__name__)
LOGIN_COOKIE_S: Final = 600
# An answer with a cookie or a code must not be stored, nor the address with the code passed on.
PRIVATE: Final = (("cache-control", "no-store"), ("referrer-policy", "no-referrer"))


async def login(request: Request, ctx: Context) -> Response:
    """GET /oidc/login

    Sends the browser to the provider; `next` is the path to which it returns at the end.
    """
    next_path = request.fields().get("next") or _root(ctx)
    try:
        begun = await _oidc(ctx).begin(_callback_url(request, ctx), next_path)
    except LoginFailed as failure:
        return _failed(ctx, failure)
    cookie = set_cookie(begun.cookie, begun.value, LOGIN_COOKIE_S, secure=is_https(request))
    return _redirect(begun.url, cookie)


async def callback(request: Request, ctx: Context) -> Response:
    """GET /oidc/callback

    The browser returns from the provider: begins its session, and makes an unknown user.
    """
    oidc = _oidc(ctx)
    try:
        name, next_path, used = await oidc.finish(request, request.fields(), cookies(request))
    except LoginFailed as failure:
        return _failed(ctx, failure)
    account = await ctx.accounts.db.read_point(users.find, name)
    if account is None:
        return _failed(ctx, LoginFailed("a user who was deleted at the same time"))
    secure = is_https(request)
    return _redirect(
        next_path,
        oidc.sessions.cookie(name, account, secure=secure),
        set_cookie(used, "", 0, secure=secure),
    )


async def logout(request: Request, ctx: Context) -> Response:
    """GET /oidc/logout

    Ends the session here, and then that at the provider, if it has a page for it. A link on a page of
    another origin only leads to the question whether to log out.
    """
    if request.headers.get("sec-fetch-site", "none") not in OWN_SITES:
        return _page("<h1>Log out?</h1>\n<p><a href='logout'>Log out</a></p>\n")
    oidc = _oidc(ctx)
    ended = oidc.sessions.end(secure=is_https(request))
    url = await oidc.end_session_url()
    if url is not None:
        return _redirect(url, ended)
    answer = _page(f"<h1>You are logged out</h1>\n{_login_link(ctx)}")
    answer.headers.append(("set-cookie", ended))
    return answer


def _oidc(ctx: Context) -> Oidc:
    assert ctx.oidc is not None, "the routes are served only with a provider"
    return ctx.oidc


def _root(ctx: Context) -> str:
    return f"{ctx.settings.static_prefix or ''}/"


def _callback_url(request: Request, ctx: Context) -> str:
    scheme = "https" if is_https(request) else "http"
    return f"{scheme}://{request.headers.get('host', '')}{_root(ctx)}oidc/callback"


def _redirect(url: str, *set_cookies: str) -> Response:
    headers = [("location", url), *PRIVATE, *(("set-cookie", text) for text in set_cookies)]
    return Response(status=302, content_type=None, headers=headers)


def _failed(ctx: Context, failure: LoginFailed) -> Response:
    log.warning("a login at the OpenID provider failed: %s", failure)
    return _page(
        f"<h1>The login failed</h1>\n<p>The reason: {escape(str(failure))}.</p>\n{_login_link(ctx)}",
        status=403,
    )


def _login_link(ctx: Context) -> str:
    return f"<p><a href='{escape(_root(ctx))}oidc/login'>Log in</a></p>\n"


def _page(body: str, status: int = 200) -> Response:
    answer = page("headrace: login", body)
    answer.status = status
    answer.headers += PRIVATE
    return answer
