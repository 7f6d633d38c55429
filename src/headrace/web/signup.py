"""The page on which an admin adds a user, for browsers without MLflow's page."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from headrace.api.results import TextRefusal
from headrace.auth import users
from headrace.contract.errors import ApiError, ErrorCode
from headrace.contract.limits import MAX_ACCOUNT_BYTES
from headrace.contract.texts import refuse_unstorable
from headrace.http.messages import Request, Response, html
from headrace.web import csrf

if TYPE_CHECKING:
    from headrace.api.context import Context

FORM: Final = "application/x-www-form-urlencoded"
MAX_FIELDS: Final = 20
STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:4rem auto;padding:0 1rem;"
    "color:#1f2933}label{display:block;margin-top:1rem;font-weight:600}input{width:100%;"
    "padding:.5rem;font:inherit;box-sizing:border-box;border:1px solid #9aa5b1;border-radius:4px}"
    "button{margin-top:1.5rem;padding:.5rem 1.5rem;font:inherit;font-weight:600;color:#fff;"
    "background:#2272b4;border:0;border-radius:4px;cursor:pointer}"
    "p[role]{padding:.5rem .8rem;background:#f0f2f5;border-radius:4px}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# The page loads nothing and runs nothing; its form goes to this server only.
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


async def signup(request: Request, ctx: Context) -> Response:
    """GET /signup

    A form that adds a user.
    """
    return _page(request, ctx, _form(request, ctx))


async def create_user(request: Request, ctx: Context) -> Response:
    """POST users/create-ui

    Adds the user of the form. Unlike stock's, the answer is a page without a script: it shows the
    message that stock shows in an alert.
    """
    fields = await _fields(request)
    seed = csrf.seed_of(request.headers.get("cookie"))
    try:
        _tokens(ctx).check(fields.get("csrf_token"), seed, _caller(ctx))
    except csrf.InvalidToken as error:
        return html(400, "Bad Request", str(error))
    username, password = fields.get("username", ""), fields.get("password", "")
    if not username or not password:
        raise TextRefusal("Username and password cannot be empty.")
    refuse_unstorable(username, "username")
    users.check_name(username)
    db = ctx.accounts.db
    is_taken = await db.read_point(users.find, username) is not None
    if not is_taken:
        users.check_password(password)
        stored = await ctx.authority.passwords.hash(password)
        try:
            await db.write(users.create, username, stored)
        except ApiError as error:
            if error.code != ErrorCode.RESOURCE_ALREADY_EXISTS:
                raise
            is_taken = True
    if is_taken:
        message = f"Username has already been taken: {username}"
    else:
        ctx.changed("user.create", target=username)
        message = f"Successfully signed up user: {username}"
    return _page(request, ctx, _form(request, ctx, message))


async def _fields(request: Request) -> dict[str, str]:
    """The first value of each field of the form; empty if the request has another Content-Type."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != FORM:
        return {}
    body = await request.body(MAX_ACCOUNT_BYTES)
    try:
        found = parse_qs(
            body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS
        )
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _tokens(ctx: Context) -> csrf.Tokens:
    return csrf.Tokens(ctx.settings.secret_key or "")


def _caller(ctx: Context) -> str:
    assert ctx.access.username is not None, "a route of users"
    return ctx.access.username


class Form:
    """The HTML of a form, and the random text of its cookie."""

    __slots__ = ("seed", "text")

    def __init__(self, text: str, seed: str) -> None:
        self.text = text
        self.seed = seed


def _form(request: Request, ctx: Context, message: str = "") -> Form:
    # The text of a cookie that the browser has stays, so that a form in another tab remains valid.
    seed = csrf.seed_of(request.headers.get("cookie")) or csrf.new_seed()
    token = _tokens(ctx).make(seed, _caller(ctx))
    prefix = ctx.settings.static_prefix or ""
    action = next(route.path for route in ctx.routes if route.handler is create_user)
    said = f'<p role="status">{escape(message)}</p>\n' if message else ""
    text = f"""{said}<form action="{escape(prefix + action)}" method="post">
<input type="hidden" name="csrf_token" value="{token}">
<label for="username">Username</label>
<input id="username" name="username" autocomplete="off" required maxlength="{users.MAX_USERNAME}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="new-password" required
 minlength="{users.MIN_PASSWORD}">
<button>Sign up</button>
</form>
<p><a href="{escape(prefix)}/">Back to MLflow</a></p>"""
    return Form(text, seed)


def _page(request: Request, ctx: Context, form: Form) -> Response:
    text = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>Add a user</title>\n<style>{STYLE}</style>\n<h1>Add a user</h1>\n"
        f"{form.text}\n</html>\n"
    )
    headers = [
        ("content-security-policy", POLICY),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
        ("set-cookie", csrf.set_cookie(form.seed, secure=request.scheme == "https")),
    ]
    return Response(text.encode(), content_type="text/html; charset=utf-8", headers=headers)
