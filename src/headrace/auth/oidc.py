"""Users of OpenID providers: bearer tokens of clients, and logins of the page."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.auth.authority import Unauthenticated
from headrace.auth.oidc_claims import Identity, identity
from headrace.auth.oidc_keys import Provider
from headrace.auth.oidc_login import Begun, CodeFlow
from headrace.auth.oidc_tokens import InvalidToken, TokenVerifier
from headrace.auth.sessions import LoginFailed, Sessions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.auth.authority import Caller, Head
    from headrace.auth.external import ExternalUsers
    from headrace.auth.oidc_http import ProviderHttp
    from headrace.auth.oidc_tokens import Claims

MAX_VERIFIED: Final = 10_000  # tokens
# A token is verified again after this time, so that it ends when the provider withdraws its key.
VERIFIED_S: Final = 300.0


class Configuration(NamedTuple):
    """How users log in. `issuers`: the page uses the first one."""

    issuers: Sequence[str]
    audiences: Sequence[str]
    client_id: str
    name_claims: Sequence[str]
    groups_claim: str
    redirect_uri: str  # "": from the headers of each request
    secret_key: str
    session_s: int


class Verified(NamedTuple):
    """The claims of a verified token, until a time in s since 1970."""

    identity: Identity
    until_s: float


class Oidc:
    """The providers of one server."""

    def __init__(
        self, configuration: Configuration, http: ProviderHttp, users: ExternalUsers
    ) -> None:
        self._configuration = configuration
        self._http = http
        self._users = users
        self._providers = [Provider(issuer, http.fetch) for issuer in configuration.issuers]
        self._verifier = TokenVerifier(self._providers)
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, Verified] = OrderedDict()
        self.sessions = Sessions(configuration.secret_key, configuration.session_s)
        first = self._providers[0]
        self._flow = CodeFlow(
            first,
            configuration.client_id,
            http,
            TokenVerifier([first]),
            configuration.secret_key,
        )

    @property
    def has_page_login(self) -> bool:
        """Whether browsers log in here."""
        return bool(self._configuration.client_id)

    async def bearer(self, token: str, head: Head) -> Caller:
        """The sender of a request with this token. See `login.Method`."""
        key = hmac.digest(self._key, token.encode(), "sha256")
        known = self._verified.get(key)
        if known is None or known.until_s <= time.time():
            known = await self._verify(token)
            self._verified[key] = known
            self._verified.move_to_end(key)
            if len(self._verified) > MAX_VERIFIED:
                self._verified.popitem(last=False)
        return await self._arrive(known.identity, head)

    async def begin(self, redirect_uri: str, next_path: str) -> Begun:
        """See `CodeFlow.begin`."""
        return await self._flow.begin(self._configuration.redirect_uri or redirect_uri, next_path)

    async def finish(
        self, head: Head, query: Mapping[str, str], cookies: Mapping[str, str]
    ) -> tuple[str, str, str]:
        """The user's name, the next path, and the cookie to delete. The user exists then.

        Raises LoginFailed, and ApiError (503).
        """
        claims, next_path, cookie = await self._flow.finish(query, cookies)
        found = self._identity(claims)
        if found is None:
            raise LoginFailed("a user without a usable name")
        if self._configuration.groups_claim and found.groups is None:
            # Providers leave the claim out for a user who has left the last group.
            found = found._replace(groups=frozenset())
        self._users.forget(found.name)  # the row may be gone since the last request
        try:
            await self._arrive(found, head)
        except Unauthenticated as refusal:
            raise LoginFailed(refusal.reason or "") from None
        return found.name, next_path, cookie

    async def end_session_url(self) -> str | None:
        """Where the browser ends the session at the provider. Raises ApiError (503)."""
        endpoint = await self._providers[0].endpoint("end_session_endpoint")
        if endpoint is None:
            return None
        return f"{endpoint}?client_id={self._configuration.client_id}"

    async def close(self) -> None:
        """Close the connections to the providers."""
        for provider in self._providers:
            await provider.close()
        await self._http.close()

    async def _verify(self, token: str) -> Verified:
        try:
            claims = await self._verifier.verify(token, self._configuration.audiences)
        except InvalidToken as refusal:
            raise Unauthenticated(str(refusal)) from None
        found = self._identity(claims)
        if found is None:
            raise Unauthenticated("token without a usable name")
        return Verified(found, min(time.time() + VERIFIED_S, float(claims["exp"])))

    def _identity(self, claims: Claims) -> Identity | None:
        configuration = self._configuration
        return identity(claims, configuration.name_claims, configuration.groups_claim)

    async def _arrive(self, found: Identity, head: Head) -> Caller:
        groups = None if found.groups is None else tuple(sorted(found.groups))
        return await self._users.arrive(head, found.name, groups)
