"""The login of the page at an OpenID provider: authorization code with PKCE, state and nonce.

Between its two requests nothing is stored on the server: state, nonce and verifier are in a signed
cookie of the browser.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from headrace.auth.oidc_tokens import InvalidToken
from headrace.auth.sessions import LoginFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.auth.oidc_keys import Provider
    from headrace.auth.oidc_tokens import Claims, TokenVerifier

COOKIE: Final = "headrace_login_"  # and the beginning of the state, so that tabs do not disturb
STATE_CHARACTERS: Final = 43  # of 32 random bytes
COOKIE_STATE_CHARACTERS: Final = 8
VALID_S: Final = 600  # from the redirection to the return
MAX_CODE_CHARACTERS: Final = 4096
MAX_USED: Final = 10_000  # states that have been used, of one process
MAX_NEXT_CHARACTERS: Final = 1024


class Http(Protocol):
    """The requests of the code flow."""

    def authorization_url(
        self, endpoint: str, redirect_uri: str, state: str, nonce: str, verifier: str
    ) -> str:
        """The URL to which the browser is sent."""
        ...

    async def exchange(
        self, endpoint: str, redirect_uri: str, code: str, verifier: str
    ) -> Mapping[str, Any]:
        """The tokens for a code. Raises LoginFailed, and ApiError (503)."""
        ...

    async def user_info(self, endpoint: str, access_token: str) -> Mapping[str, Any]:
        """The claims of the user. Raises LoginFailed, and ApiError (503)."""
        ...


class Begun(NamedTuple):
    """A login that has begun: where to send the browser, and the cookie that must come back."""

    url: str
    cookie: str
    value: str


class CodeFlow:
    """Logins of one client at one provider."""

    def __init__(
        self,
        provider: Provider,
        client_id: str,
        http: Http,
        verifier: TokenVerifier,
        secret_key: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`verifier` knows this provider only."""
        self._provider = provider
        self._client_id = client_id
        self._http = http
        self._verifier = verifier
        self._key = hmac.digest(secret_key.encode(), b"headrace OpenID login 1", "sha256")
        self._now = now
        self._used: OrderedDict[str, None] = OrderedDict()

    async def begin(self, redirect_uri: str, next_path: str) -> Begun:
        """Begin a login that returns to `redirect_uri`, and then to `next_path` of this server.

        Raises ApiError (503), LoginFailed.
        """
        endpoint = await self._endpoint("authorization_endpoint")
        state, nonce = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        verifier = secrets.token_urlsafe(48)
        content = {
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "next": local_path(next_path),
            "redirect": redirect_uri,
            "until": int(self._now()) + VALID_S,
        }
        url = self._http.authorization_url(endpoint, redirect_uri, state, nonce, verifier)
        return Begun(url, cookie_of(state), self._signed(content))

    async def finish(
        self, query: Mapping[str, str], cookies: Mapping[str, str]
    ) -> tuple[Claims, str, str]:
        """The claims of the user who returns with this query, the next path, and the used cookie.

        Raises LoginFailed and ApiError (503).
        """
        state, code = query.get("state", ""), query.get("code", "")
        begun = self._read(cookies.get(cookie_of(state), ""))
        if not hmac.compare_digest(begun["state"].encode(), state.encode()):
            raise LoginFailed("a login with another state")
        if self._now() > begun["until"]:
            raise LoginFailed("a login that took too long")
        if query.get("iss", self._provider.issuer) != self._provider.issuer:
            raise LoginFailed("a login at another provider")
        self._use(state)
        if "error" in query:
            raise LoginFailed("the provider refused the login")
        if not code or len(code) > MAX_CODE_CHARACTERS:
            raise LoginFailed("a login without a code")
        endpoint = await self._endpoint("token_endpoint")
        tokens = await self._http.exchange(endpoint, begun["redirect"], code, begun["verifier"])
        claims = await self._id_claims(tokens, begun["nonce"])
        return claims, begun["next"], cookie_of(state)

    async def _with_user_info(self, claims: Claims, access_token: str) -> Claims:
        """The claims of the ID token, and those that only the user-info endpoint gives."""
        endpoint = await self._provider.endpoint("userinfo_endpoint")
        if endpoint is None or not access_token:
            return claims
        found = await self._http.user_info(endpoint, access_token)
        if found.get("sub") != claims.get("sub"):
            raise LoginFailed("user info of another user")
        return {**found, **claims}

    async def _id_claims(self, tokens: Mapping[str, Any], nonce: str) -> Claims:
        token = tokens.get("id_token")
        if not isinstance(token, str):
            raise LoginFailed("the provider sent no ID token")
        try:
            claims = await self._verifier.verify(token, [self._client_id])
        except InvalidToken as refusal:
            raise LoginFailed(str(refusal)) from None
        found = claims.get("nonce")
        if not isinstance(found, str) or not hmac.compare_digest(found.encode(), nonce.encode()):
            raise LoginFailed("an ID token with another nonce")
        if claims.get("azp", self._client_id) != self._client_id:
            raise LoginFailed("an ID token for another client")
        access_token = tokens.get("access_token")
        if not isinstance(access_token, str):
            access_token = ""
        return await self._with_user_info(claims, access_token)

    async def _endpoint(self, name: str) -> str:
        url = await self._provider.endpoint(name)
        if url is None:
            raise LoginFailed(f"the provider has no {name} with https")
        return url

    def _use(self, state: str) -> None:
        """Refuse a state that this process has seen. The provider accepts each code once, too."""
        if state in self._used:
            raise LoginFailed("a login that was used before")
        self._used[state] = None
        if len(self._used) > MAX_USED:
            self._used.popitem(last=False)

    def _signed(self, content: Mapping[str, Any]) -> str:
        text = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
        return f"{text}.{self._signature(text)}"

    def _read(self, value: str) -> dict[str, Any]:
        text, _, signature = value.partition(".")
        if not hmac.compare_digest(self._signature(text).encode(), signature.encode()):
            raise LoginFailed("a login that this browser did not begin")
        content: dict[str, Any] = json.loads(
            base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        )
        return content

    def _signature(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), "sha256").hexdigest()


def cookie_of(state: str) -> str:
    """The name of the cookie of a login. Any other state than ours gives a name that nobody has."""
    known = state[:COOKIE_STATE_CHARACTERS]
    safe = len(state) == STATE_CHARACTERS and known.replace("-", "").replace("_", "").isalnum()
    return COOKIE + known if safe and known.isascii() else COOKIE


def local_path(path: str) -> str:
    """The path, if it leads to this server; else `/`. A browser reads `//host` and `/\\host` as URLs."""
    if not path.startswith("/") or path[1:2] in ("/", "\\") or len(path) > MAX_NEXT_CHARACTERS:
        return "/"
    return path if path.isascii() and path.isprintable() and "\\" not in path else "/"
