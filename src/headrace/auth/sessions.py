"""Sessions of browsers that logged in at an OpenID provider: a signed cookie, nothing stored.

The cookie ends after some hours, with a change of the password, or with the deletion of the user,
like an access token. Browsers attach it to requests of any page, so it counts only in requests that
this server's own page makes, and when a link or the address bar opens the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from headrace.auth.authority import Unauthenticated
from headrace.auth.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.auth.authority import Account, Caller, Head

PURPOSE: Final = b"headrace session 1"
NAME: Final = "headrace_session"
# Browsers accept a cookie of this name only from a page with HTTPS on exactly this host.
SECURE_NAME: Final = "__Host-headrace_session"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITES: Final = frozenset({"same-origin", "none"})  # `none`: the user typed the address
MAX_COOKIE_CHARACTERS: Final = 16_384


class LoginFailed(Exception):
    """A login that is refused. The message is for the log and contains no value of the request."""


class Sessions:
    """Makes and reads the cookies of sessions."""

    def __init__(self, secret_key: str, lifetime_s: int) -> None:
        self._tokens = Tokens(secret_key, purpose=PURPOSE)
        self._lifetime_s = lifetime_s

    def cookie(self, name: str, account: Account, *, secure: bool) -> str:
        """The header Set-Cookie that begins a session of the user."""
        token = self._tokens.issue_for(name, account, self._lifetime_s)
        return set_cookie(_name(secure), token, self._lifetime_s, secure=secure)

    def end(self, *, secure: bool) -> str:
        """The header Set-Cookie that ends a session."""
        return set_cookie(_name(secure), "", 0, secure=secure)

    async def identify(self, head: Head) -> Caller | None:
        """The sender of a request with a session. See `login.Method`."""
        if "cookie" not in head.headers:
            return None
        token = cookies(head).get(_name(is_https(head)))
        if not token:
            return None
        if not is_own(head):
            raise Unauthenticated("session in a request of another page")
        return self._tokens.read(token)


def is_own(head: Head) -> bool:
    """Whether this server's own page sends the request, or the user opens a page of it."""
    headers = head.headers
    site = headers.get("sec-fetch-site")
    if site in OWN_SITES:
        return True
    opens = head.method == "GET" and head.path != "/graphql"
    if site is not None:
        return opens and headers.get("sec-fetch-mode") == "navigate"
    origin = headers.get("origin")
    if origin is None:
        # Browsers without Sec-Fetch-Site send Origin with everything but GET and HEAD.
        return head.method in SAFE_METHODS and head.path != "/graphql"
    try:
        return urlsplit(origin).netloc == headers.get("host")
    except ValueError:
        return False


def is_https(head: Head) -> bool:
    """Whether the browser uses HTTPS, which a proxy in front of the server ends."""
    forwarded = head.headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    return (forwarded or head.scheme) == "https"


def cookies(head: Head) -> Mapping[str, str]:
    """The cookies of a request, as they are sent: ours need no quotes. None if there are too many."""
    text = head.headers.get("cookie", "")
    if len(text) > MAX_COOKIE_CHARACTERS:
        return {}
    pairs = (part.strip().partition("=") for part in text.split(";"))
    return {name: value for name, _, value in pairs}


def set_cookie(name: str, value: str, max_age_s: int, *, secure: bool) -> str:
    """A header Set-Cookie that no script can read and that requests of other sites do not carry."""
    ending = "; Secure" if secure else ""
    return f"{name}={value}; Max-Age={max_age_s}; Path=/; HttpOnly; SameSite=Lax{ending}"


def _name(secure: bool) -> str:
    return SECURE_NAME if secure else NAME
