"""Which signed tokens are accepted, and when keys are fetched."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from headrace.auth.oidc_keys import (
    DISCOVERY,
    FRESH_S,
    MAX_AGE_S,
    MIN_PAUSE_S,
    Provider,
    parse_keys,
)
from headrace.auth.oidc_tokens import (
    LEEWAY_S,
    MAX_CHARACTERS,
    MAX_KEYS_TRIED,
    InvalidToken,
    TokenVerifier,
)
from headrace.auth.secure_url import is_secure
from headrace.contract.errors import ApiError

ISSUER = "https://id.example.com/realms/team"
JWKS = "https://id.example.com/keys"
NOW_S = 1_800_000_000.0
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
OTHER = RSAKey.generate_key(2048, {"kid": "rsa"})  # an attacker may choose the same id
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
RIGHT = {"iss": ISSUER, "aud": "headrace", "exp": NOW_S + 60, "sub": "ann"}


class Site:
    """The documents of a provider, and how often they were fetched."""

    def __init__(self, *keys: Any) -> None:
        self.metadata: Any = {"issuer": ISSUER, "jwks_uri": JWKS, "token_endpoint": ISSUER + "/t"}
        self.keys: Any = {"keys": [key.as_dict(private=False) for key in keys]}
        self.fetched: list[str] = []
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.now_s = 0.0
        self.provider = Provider(ISSUER, self.fetch, lambda: self.now_s)

    async def fetch(self, url: str) -> Any:
        """The document at a URL."""
        self.fetched.append(url)
        await self.gate.wait()
        if self.down:
            raise OSError
        return {ISSUER + DISCOVERY: self.metadata, JWKS: self.keys}[url]

    async def verify(self, token: str) -> Any:
        """The claims of a token."""
        return await TokenVerifier([self.provider], lambda: NOW_S).verify(token, ["headrace"])

    async def refusal(self, token: str) -> str:
        """Why a token is refused."""
        with pytest.raises(InvalidToken) as refused:
            await self.verify(token)
        return str(refused.value)


def signed(claims: Any, key: Any = RSA, alg: str = "RS256", **header: Any) -> str:
    kid = {} if key.kid is None else {"kid": key.kid}
    head = {"alg": alg, **kid, **header}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jws.serialize_compact(head, payload, key, algorithms=[alg])


def segment(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


@pytest.mark.parametrize(
    ("key", "alg"),
    [(RSA, "RS256"), (RSA, "RS512"), (RSA, "PS256"), (EC, "ES256"), (ED, "Ed25519")],
)
async def test_tokens_of_every_asymmetric_kind_are_accepted(key: Any, alg: str) -> None:
    assert (await Site(RSA, EC, ED).verify(signed(RIGHT, key, alg)))["sub"] == "ann"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": NOW_S - LEEWAY_S}, "expired"),
        ({"exp": NOW_S - LEEWAY_S + 1}, ""),
        ({"exp": None}, "without an expiry"),
        ({"exp": "2100-01-01"}, "malformed time"),
        ({"exp": True}, "malformed time"),
        ({"exp": float("nan")}, "malformed time"),
        ({"exp": float("inf")}, "malformed time"),
        ({"exp": 10**400}, "malformed time"),
        ({"nbf": NOW_S + LEEWAY_S + 1}, "not valid yet"),
        ({"nbf": NOW_S + LEEWAY_S}, ""),
        ({"iat": NOW_S + LEEWAY_S + 1}, "not valid yet"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": ["other", "headrace"]}, ""),
        ({"aud": [["headrace"]]}, "another audience"),
        ({"aud": {"headrace": 1}}, "another audience"),
        ({"iss": "https://id.example.com"}, "unknown issuer"),
        ({"iss": ISSUER + "/"}, "unknown issuer"),
        ({"iss": None}, "unknown issuer"),
        ({"iss": [ISSUER]}, "unknown issuer"),
    ],
)
async def test_the_claims_of_a_token_must_fit(changed: dict[str, Any], reason: str) -> None:
    token = signed(RIGHT | changed)
    if reason:
        assert reason in await Site(RSA).refusal(token)
    else:
        assert await Site(RSA).verify(token)


async def test_only_the_provider_decides_about_keys() -> None:
    head = f"{segment({'alg': 'HS256', 'kid': 'rsa'})}.{segment(RIGHT)}"
    mac = hmac.digest(RSA.as_pem(private=False), head.encode(), "sha256")
    none = f"{segment({'alg': 'none', 'kid': 'rsa'})}.{segment(RIGHT)}."
    header, payload, signature = signed(RIGHT).split(".")
    for token in (
        signed(RIGHT, OTHER),
        signed(RIGHT, OTHER, jwk=OTHER.as_dict(private=False)),
        signed(RIGHT, OTHER, jku="https://evil.example.com/keys"),
        signed(RIGHT, OTHER, x5c=["MIIB"]),
        f"{head}.{segment(mac)}",
        none,
        none.replace("none", "nOnE"),
        f"{segment({'alg': 'none'})}.{payload}.{signature}",
        f"{header}.{segment(RIGHT | {'sub': 'root'})}.{signature}",
        f"{header}.{payload}.",
        signed(RIGHT, EC, "ES256"),  # not a key of this provider
        f"{segment({'alg': 'ES256', 'kid': 'rsa'})}.{payload}.{signature}",
    ):
        assert await Site(RSA).refusal(token)


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "../../etc/passwd"},
        {"kid": "' OR 1=1 --"},
        {"kid": ["rsa"]},
        {"kid": {"kid": "rsa"}},
        {"kid": 1},
        {"kid": ""},
        {"kid": "x" * 600},
        {"crit": ["exp"], "kid": "rsa"},
        {"alg": ["RS256"], "kid": "rsa"},
        {"alg": None, "kid": "rsa"},
        {"alg": "rs256", "kid": "rsa"},
        {"alg": "HS256", "kid": "rsa"},
    ],
)
async def test_tricks_with_the_header_are_refused(header: dict[str, Any]) -> None:
    _, payload, signature = signed(RIGHT).split(".")
    token = f"{segment({'alg': 'RS256', **header})}.{payload}.{signature}"
    assert await Site(RSA).refusal(token)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b.c.d",
        "é.é.é",
        f"{segment({'alg': 'RS256'})}.{segment(RIGHT)}",
        f"{segment([])}.{segment(RIGHT)}.x",
        f"{segment({'alg': 'RS256'})}.{segment([])}.x",
        f"{segment({'alg': 'RS256'})}.{segment(b'[' * 6000)}.x",
        f"{segment(b'{')}.{segment(RIGHT)}.x",
        "\0.\0.\0",
    ],
)
async def test_malformed_tokens_are_refused(token: str) -> None:
    site = Site(RSA)
    assert await site.refusal(token)
    assert not site.fetched


async def test_a_token_that_is_too_long_is_not_even_parsed() -> None:
    site = Site(RSA)
    token = signed(RIGHT | {"x": "y" * MAX_CHARACTERS})
    assert "too long" in await site.refusal(token)
    assert not site.fetched


async def test_a_token_without_a_key_id_tries_a_bounded_number_of_keys() -> None:
    anonymous = RSAKey.import_key(
        {k: v for k, v in RSA.as_dict(private=True).items() if k != "kid"}
    )
    assert await Site(EC, RSA).verify(signed(RIGHT, anonymous))
    many = Site(*[OTHER] * MAX_KEYS_TRIED, RSA)
    assert "wrong signature" in await many.refusal(signed(RIGHT, anonymous))


async def test_a_new_key_is_found_and_an_old_one_expires() -> None:
    site = Site(RSA)
    assert await site.verify(signed(RIGHT))
    site.keys = {"keys": [EC.as_dict(private=False)]}
    site.now_s += MIN_PAUSE_S
    assert await site.verify(signed(RIGHT, EC, "ES256"))
    assert "wrong signature" in await site.refusal(signed(RIGHT))
    assert len(site.fetched) == 4


async def test_unknown_keys_cause_few_fetches() -> None:
    site = Site(RSA)
    for _ in range(50):
        await site.refusal(signed(RIGHT, EC, "ES256"))
    assert len(site.fetched) == 2
    site.now_s += MIN_PAUSE_S
    await asyncio.gather(*[site.refusal(signed(RIGHT, EC, "ES256")) for _ in range(50)])
    assert len(site.fetched) == 4


async def test_a_slow_provider_delays_nobody_whose_key_is_known() -> None:
    site = Site(RSA)
    assert await site.verify(signed(RIGHT))
    site.now_s += FRESH_S + 1
    site.gate.clear()
    waiting = asyncio.create_task(site.refusal(signed(RIGHT, EC, "ES256")))
    for _ in range(3):
        assert await site.verify(signed(RIGHT))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert site.fetched[2:] == [ISSUER + DISCOVERY]
    site.gate.set()
    assert await waiting


async def test_an_outage_of_the_provider_is_survived_for_a_day() -> None:
    site = Site(RSA)
    assert await site.verify(signed(RIGHT))
    site.down = True
    site.now_s += MAX_AGE_S - 1
    assert await site.verify(signed(RIGHT))
    site.now_s += MIN_PAUSE_S
    with pytest.raises(ApiError) as refused:
        await site.verify(signed(RIGHT))
    assert refused.value.status == 503
    site.down = False
    site.now_s += MIN_PAUSE_S
    assert await site.verify(signed(RIGHT))


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        {},
        {"issuer": ISSUER},
        {"issuer": ISSUER + "/", "jwks_uri": JWKS},
        {"issuer": ISSUER, "jwks_uri": "http://id.example.com/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER, "jwks_uri": 1},
    ],
)
async def test_a_configuration_that_does_not_fit_is_refused(metadata: Any) -> None:
    site = Site(RSA)
    site.metadata = metadata
    for _ in range(5):
        with pytest.raises(ApiError) as refused:
            await site.verify(signed(RIGHT))
        assert refused.value.status == 503
    assert site.fetched == [ISSUER + DISCOVERY]


def test_symmetric_private_and_weak_keys_are_left_out() -> None:
    secret = OctKey.generate_key(256)
    weak = {"kty": "RSA", "n": segment(b"\xff" * 128), "e": "AQAB", "kid": "weak"}
    document: dict[str, Any] = KeySet([RSA, EC, ED]).as_dict(private=False)
    document["keys"] += [secret.as_dict(), weak, {"kty": "RSA"}, {"kty": "new"}, None, "x", {}]
    document["keys"].append(RSA.as_dict(private=False) | {"use": "enc"})
    assert [facts["kid"] for facts, _ in parse_keys(document)] == ["rsa", "ec", "ed"]
    for other in (None, [], {}, {"keys": None}, {"keys": {}}, "x"):
        assert parse_keys(other) == []


async def test_endpoints_with_plain_http_are_not_used() -> None:
    site = Site(RSA)
    assert await site.provider.endpoint("token_endpoint") == ISSUER + "/t"
    site.metadata["token_endpoint"] = "http://id.example.com/t"
    assert await site.provider.endpoint("token_endpoint") is None
    assert await site.provider.endpoint("end_session_endpoint") is None
    assert is_secure("http://localhost:9400/x")
    assert not is_secure("http://localhost.example.com")
    assert not is_secure("https")
    assert not is_secure("http://[::1")
