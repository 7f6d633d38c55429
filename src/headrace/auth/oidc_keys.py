"""The public keys of an OpenID provider, found by discovery, with rotation.

Requests that need a key which is known already never wait for the provider. One fetch serves all
requests that wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from headrace.auth.secure_url import is_secure
from headrace.contract.errors import unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

log = logging.getLogger(__name__)
DISCOVERY: Final = "/.well-known/openid-configuration"
FRESH_S: Final = 600.0  # then the keys are fetched again, in the background
MAX_AGE_S: Final = 86_400.0  # keys are used for this long while the provider does not answer
# Between two fetches. Anyone can send tokens with unknown key ids.
MIN_PAUSE_S: Final = 30.0
MIN_PAUSE_WITHOUT_KEYS_S: Final = 2.0
MAX_KEYS: Final = 100
# Shorter RSA keys than 2048 bits are unsafe, longer ones than 8192 slow. 6 bits in a character.
RSA_CHARACTERS: Final = range(342, 1367)
PublicKey = RSAKey | ECKey | OKPKey


class InvalidProvider(Exception):
    """A document of the provider that cannot be used. The message is for the log."""


class Provider:
    """One OpenID provider. `fetch` returns the JSON document at a URL, or raises OSError or ValueError."""

    def __init__(
        self,
        issuer: str,
        fetch: Callable[[str], Awaitable[Any]],
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.issuer = issuer
        self._fetch = fetch
        self._now = now
        self._metadata: Mapping[str, Any] = {}
        self._keys: list[tuple[Mapping[str, Any], PublicKey]] = []
        self._fetched_s = 0.0
        self._tried_s = float("-inf")
        self._refresh: asyncio.Task[None] | None = None

    async def endpoint(self, name: str) -> str | None:
        """The URL of an endpoint, such as `token_endpoint`; None if the provider has none.

        Raises ApiError (503) if the provider does not answer.
        """
        if not self._keys:
            await self._refreshed()
        url = self._metadata.get(name)
        return url if isinstance(url, str) and is_secure(url) else None

    async def keys(self, kid: str | None, alg: str) -> list[PublicKey]:
        """The keys with this id (None: all) that may have signed with this algorithm.

        Raises ApiError (503) if there are none because the provider does not answer.
        """
        age_s = self._now() - self._fetched_s
        if not self._keys or age_s > MAX_AGE_S:
            await self._refreshed()
        elif age_s > FRESH_S and self._may_fetch():
            self._begin()
        found = self._suitable(kid, alg)
        if not found and self._may_fetch():  # the provider may have a new key
            await self._refreshed()
            found = self._suitable(kid, alg)
        return found

    async def close(self) -> None:
        """Stop a fetch in progress."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])

    def _suitable(self, kid: str | None, alg: str) -> list[PublicKey]:
        return [key for facts, key in self._keys if _fits(facts, key, kid, alg)]

    def _may_fetch(self) -> bool:
        pause_s = MIN_PAUSE_S if self._keys else MIN_PAUSE_WITHOUT_KEYS_S
        return self._refresh is not None or self._now() - self._tried_s >= pause_s

    def _begin(self) -> asyncio.Task[None]:
        if self._refresh is None:
            self._tried_s = self._now()
            self._refresh = asyncio.get_running_loop().create_task(self._read())
            self._refresh.add_done_callback(self._end)
        return self._refresh

    def _end(self, task: asyncio.Task[None]) -> None:
        self._refresh = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the OpenID provider %s: %s", self.issuer, _reason(error))

    async def _refreshed(self) -> None:
        """Fetch the keys, or wait for the fetch in progress. Raises ApiError (503) without keys."""
        if self._may_fetch():
            await asyncio.wait([self._begin()])
        if not self._keys or self._now() - self._fetched_s > MAX_AGE_S:
            raise unavailable("The OpenID provider does not answer. Please try again.")

    async def _read(self) -> None:
        metadata = await self._fetch(self.issuer.rstrip("/") + DISCOVERY)
        if not isinstance(metadata, dict) or metadata.get("issuer") != self.issuer:
            raise InvalidProvider("its configuration names another issuer than --oidc-issuer")
        url = metadata.get("jwks_uri")
        if not isinstance(url, str) or not is_secure(url):
            raise InvalidProvider("its configuration has no jwks_uri with https")
        document = await self._fetch(url)
        keys = await asyncio.to_thread(parse_keys, document)
        if not keys:
            raise InvalidProvider("it has no usable keys")
        self._metadata, self._keys, self._fetched_s = metadata, keys, self._now()


def parse_keys(document: Any) -> list[tuple[Mapping[str, Any], PublicKey]]:
    """The public signature keys of a JWK set (RFC 7517). Others are left out, symmetric ones too."""
    listed = document.get("keys") if isinstance(document, dict) else None
    found: list[tuple[Mapping[str, Any], PublicKey]] = []
    for facts in listed[:MAX_KEYS] if isinstance(listed, list) else ():
        if not isinstance(facts, dict) or facts.get("use", "sig") != "sig":
            continue
        with contextlib.suppress(JoseError, ValueError, TypeError, KeyError):
            if facts.get("kty") == "RSA" and len(facts["n"]) not in RSA_CHARACTERS:
                continue
            key = import_key(facts)
            if isinstance(key, RSAKey | ECKey | OKPKey):
                found.append((facts, key))
    return found


def _fits(facts: Mapping[str, Any], key: PublicKey, kid: str | None, alg: str) -> bool:
    if kid is not None and facts.get("kid") != kid:
        return False
    if facts.get("alg", alg) != alg:
        return False
    kinds = {"RS": RSAKey, "PS": RSAKey, "ES": ECKey, "Ed": OKPKey}
    return isinstance(key, kinds[alg[:2]])


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, InvalidProvider) else type(error).__name__
