"""Verifies the signed tokens (JWT, RFC 7519) of OpenID providers."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any, Final

from joserfc import jws
from joserfc.errors import JoseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from headrace.auth.oidc_keys import Provider, PublicKey

# Asymmetric ones only: with a symmetric one the public key would be the secret.
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
MAX_CHARACTERS: Final = 16_384
MAX_KID_CHARACTERS: Final = 512
MAX_KEYS_TRIED: Final = 8  # for a token that names no key
LEEWAY_S: Final = 60.0
MAX_TIME: Final = (
    1e12  # seconds since 1970; excludes infinity, and NaN, which compares with nothing
)
Claims = dict[str, Any]


class InvalidToken(Exception):
    """A token that is refused. The message is for the log and contains no value of the token."""


class TokenVerifier:
    """Verifies tokens of these providers; `now` is the time in seconds since 1970."""

    def __init__(self, providers: Iterable[Provider], now: Callable[[], float] = time.time) -> None:
        self._providers = {provider.issuer: provider for provider in providers}
        self._now = now

    async def verify(self, token: str, audiences: Iterable[str]) -> Claims:
        """The claims of a valid token for one of the audiences.

        Raises InvalidToken, and ApiError (503) if the keys cannot be fetched.
        """
        header, claims = _unverified(token)
        alg = header.get("alg")
        if alg not in ALGORITHMS:
            raise InvalidToken("token with a forbidden algorithm")
        # `crit` names extensions that must be understood, and none is.
        if "crit" in header or "b64" in header:
            raise InvalidToken("token with unknown extensions")
        kid = header.get("kid")
        if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID_CHARACTERS):
            raise InvalidToken("token with a malformed key id")
        issuer = claims.get("iss")
        provider = self._providers.get(issuer) if isinstance(issuer, str) else None
        if provider is None:
            raise InvalidToken("token of an unknown issuer")
        # Before the signature, so that tokens for others cost no fetch of keys. The signature covers
        # the same bytes.
        self._check(claims, frozenset(audiences))
        # Keys come from the provider alone, never from the header (`jku`, `jwk`, `x5u`).
        for key in (await provider.keys(kid, alg))[:MAX_KEYS_TRIED]:
            if _is_signed(token, key, alg):
                return claims
        raise InvalidToken("token with a wrong signature")

    def _check(self, claims: Mapping[str, Any], audiences: frozenset[str]) -> None:
        named = claims.get("aud")
        listed = named if isinstance(named, list) else [named]
        if not any(isinstance(name, str) and name in audiences for name in listed):
            raise InvalidToken("token for another audience")
        now_s = self._now()
        expiry = _time(claims, "exp")
        if expiry is None:
            raise InvalidToken("token without an expiry")
        if expiry + LEEWAY_S <= now_s:
            raise InvalidToken("expired token")
        for name in ("nbf", "iat"):
            begin = _time(claims, name)
            if begin is not None and begin - LEEWAY_S > now_s:
                raise InvalidToken("token that is not valid yet")


def _unverified(token: str) -> tuple[Mapping[str, Any], Claims]:
    """Header and claims, to find the key."""
    if len(token) > MAX_CHARACTERS:
        raise InvalidToken("token that is too long")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise InvalidToken("malformed token")
    header, claims = _json(parts[0]), _json(parts[1])
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise InvalidToken("malformed token")
    return header, claims


def _json(part: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        raise InvalidToken("malformed token") from None


def _is_signed(token: str, key: PublicKey, alg: str) -> bool:
    try:
        jws.deserialize_compact(token, key, algorithms=[alg])
    except (JoseError, ValueError):
        return False
    return True


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_TIME:
        raise InvalidToken("token with a malformed time")
    return float(value)
