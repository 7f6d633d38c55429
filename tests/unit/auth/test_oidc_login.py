"""The login of the page: what must come back from the browser and from the provider."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from headrace.auth.oidc_claims import MAX_NAME, identity
from headrace.auth.oidc_keys import Provider
from headrace.auth.oidc_login import VALID_S, Begun, CodeFlow
from headrace.auth.oidc_tokens import TokenVerifier
from headrace.auth.sessions import LoginFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUER = "https://id.example.com"
BACK = "https://mlflow.example.com/oidc/callback"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
OTHER = RSAKey.generate_key(2048, {"kid": "rsa"})
METADATA = {
    "issuer": ISSUER,
    "jwks_uri": ISSUER + "/keys",
    "authorization_endpoint": ISSUER + "/authorize",
    "token_endpoint": ISSUER + "/token",
    "userinfo_endpoint": ISSUER + "/me",
}


class World:
    """A provider, a browser and the server between them; a test changes what the provider says."""

    def __init__(self, key: Any = RSA, **claims: Any) -> None:
        self.now_s = 1_800_000_000.0
        self.claims = claims
        self.key = key
        self.info: dict[str, Any] = {"sub": "u1", "groups": ["team"], "name": "from info"}
        self.exchanged: list[tuple[str, str, str, str]] = []
        self.nonce = ""
        provider = Provider(ISSUER, self.fetch)
        verifier = TokenVerifier([provider], lambda: self.now_s)
        self.flow = CodeFlow(provider, "client", self, verifier, "key", lambda: self.now_s)

    async def fetch(self, url: str) -> Any:
        """The provider's documents."""
        return {"keys": [RSA.as_dict(private=False)]} if url.endswith("/keys") else METADATA

    def authorization_url(
        self, endpoint: str, redirect_uri: str, state: str, nonce: str, verifier: str
    ) -> str:
        """The address of the provider."""
        self.nonce = nonce
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return endpoint + "?" + urlencode({"state": state, "code_challenge": challenge})

    async def exchange(
        self, endpoint: str, redirect_uri: str, code: str, verifier: str
    ) -> Mapping[str, Any]:
        """The tokens."""
        self.exchanged.append((endpoint, redirect_uri, code, verifier))
        claims = {"iss": ISSUER, "aud": "client", "sub": "u1", "exp": self.now_s + 60}
        claims |= {"nonce": self.nonce, "preferred_username": "ann", **self.claims}
        body = json.dumps(claims).encode()
        token = jws.serialize_compact({"alg": "RS256", "kid": "rsa"}, body, self.key)
        return {"id_token": token, "access_token": "at"}

    async def user_info(self, endpoint: str, access_token: str) -> Mapping[str, Any]:
        """The claims of the access token."""
        assert (endpoint, access_token) == (ISSUER + "/me", "at")
        return self.info


def returned(begun: Begun, **changed: str) -> tuple[dict[str, str], dict[str, str]]:
    """Query and cookies of the browser that comes back."""
    state = parse_qs(urlsplit(begun.url).query)["state"][0]
    return {"state": state, "code": "c1", **changed}, {begun.cookie: begun.value}


async def test_a_login_with_pkce_state_and_nonce() -> None:
    world = World()
    begun = await world.flow.begin(BACK, "/x?y=z")
    claims, next_path, cookie = await world.flow.finish(*returned(begun))
    assert (claims["preferred_username"], next_path, cookie) == ("ann", "/x?y=z", begun.cookie)
    assert (claims["groups"], claims["name"]) == (["team"], "from info")
    ((endpoint, redirect_uri, code, verifier),) = world.exchanged
    assert (endpoint, redirect_uri, code) == (ISSUER + "/token", BACK, "c1")
    assert len(verifier) >= 43  # RFC 7636
    assert verifier not in begun.url


async def test_a_login_is_accepted_once() -> None:
    world = World()
    begun = await world.flow.begin(BACK, "/")
    await world.flow.finish(*returned(begun))
    with pytest.raises(LoginFailed, match="used before"):
        await world.flow.finish(*returned(begun))
    assert len(world.exchanged) == 1


async def test_a_login_of_another_browser_is_refused() -> None:
    world = World()
    other, begun = await world.flow.begin(BACK, "/"), await world.flow.begin(BACK, "/")
    query, cookies = returned(begun)
    _, of_other = returned(other)
    for found in ({}, of_other, {begun.cookie: other.value}, {begun.cookie: ""}):
        with pytest.raises(LoginFailed):
            await world.flow.finish(query, found)
    name, value = next(iter(cookies.items()))
    text, _, signature = value.partition(".")
    for forged in (f"{text}.", f"{text}x.{signature}", f".{signature}", "é.é", value[:-1]):
        with pytest.raises(LoginFailed, match="did not begin"):
            await world.flow.finish(query, {name: forged})
    assert not world.exchanged
    await world.flow.finish(query, cookies)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"state": ""}, "did not begin"),
        ({"state": "x" * 43}, "did not begin"),
        ({"state": "é" * 43}, "did not begin"),
        ({"code": ""}, "without a code"),
        ({"code": "x" * 5000}, "without a code"),
        ({"error": "access_denied"}, "refused"),
        ({"iss": "https://evil.example.com"}, "another provider"),
    ],
)
async def test_what_the_browser_brings_must_fit(changed: dict[str, str], reason: str) -> None:
    world = World()
    begun = await world.flow.begin(BACK, "/")
    with pytest.raises(LoginFailed, match=reason):
        await world.flow.finish(*returned(begun, **changed))
    assert not world.exchanged


async def test_a_login_expires() -> None:
    world = World()
    begun = await world.flow.begin(BACK, "/")
    world.now_s += VALID_S + 1
    with pytest.raises(LoginFailed, match="too long"):
        await world.flow.finish(*returned(begun))


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (World(nonce="other"), "another nonce"),
        (World(nonce=None), "another nonce"),
        (World(aud="other"), "another audience"),
        (World(aud=["client", "other"], azp="other"), "another client"),
        (World(exp=1), "expired"),
        (World(iss="https://evil.example.com"), "unknown issuer"),
        (World(OTHER), "wrong signature"),
        (World(sub="u2"), "another user"),
    ],
)
async def test_what_the_provider_says_must_fit(world: World, reason: str) -> None:
    begun = await world.flow.begin(BACK, "/")
    with pytest.raises(LoginFailed, match=reason):
        await world.flow.finish(*returned(begun))


NAMES = ("preferred_username", "email", "sub")


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "ann", "email": "a@b.c", "sub": "1"}, "ann"),
        ({"email": "a@b.c", "sub": "1"}, "a@b.c"),
        ({"email": "a@b.c", "email_verified": True, "sub": "1"}, "a@b.c"),
        ({"email": "a@b.c", "email_verified": False, "sub": "1"}, "1"),
        ({"email": "a@b.c", "email_verified": "false", "sub": "1"}, "1"),
        ({"preferred_username": "", "sub": "1"}, "1"),
        ({"preferred_username": 5, "sub": "1"}, "1"),
        ({"preferred_username": " ann", "sub": "1"}, "1"),
        ({"preferred_username": "a\0b", "sub": "1"}, "1"),
        ({"preferred_username": "x" * (MAX_NAME + 1), "sub": "1"}, "1"),
        ({"preferred_username": "名 前", "sub": "1"}, "名 前"),
        ({}, None),
    ],
)
def test_the_name_of_a_user(claims: dict[str, Any], name: str | None) -> None:
    found = identity(claims, NAMES, "")
    assert (None if found is None else found.name) == name


@pytest.mark.parametrize(
    ("claims", "claim", "groups"),
    [
        ({"groups": ["a", "b", 5, None]}, "groups", {"a", "b"}),
        ({"groups": "a"}, "groups", {"a"}),
        ({"groups": []}, "groups", set()),
        ({}, "groups", None),
        ({"groups": {"a": 1}}, "groups", None),
        ({"groups": ["a"]}, "", None),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", {"a"}),
        ({"https://example.com/groups": ["a"]}, "https://example.com/groups", {"a"}),
        ({"realm_access": []}, "realm_access.roles", None),
    ],
)
def test_the_groups_of_a_user(claims: dict[str, Any], claim: str, groups: Any) -> None:
    found = identity({"sub": "1", **claims}, NAMES, claim)
    assert found is not None
    assert found.groups == groups
