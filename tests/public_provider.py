"""The provider of `fix_oidc` for public clients: no secret, and the code needs the verifier of PKCE.

Run with the options of oidc_provider_mock.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError  # type: ignore[import-untyped]
from oidc_provider_mock import __main__ as program  # type: ignore[import-untyped]
from oidc_provider_mock import _app

GRANT = _app.AuthorizationCodeGrant
challenges: dict[str, str] = {}
save, validate = GRANT.save_authorization_code, GRANT.validate_token_request


def save_with_challenge(grant: Any, code: str, request: Any) -> Any:
    """Keep the challenge of a login; only hashed ones are allowed."""
    assert request.payload.data["code_challenge_method"] == "S256"
    challenges[code] = request.payload.data["code_challenge"]
    return save(grant, code, request)


def validate_verifier(grant: Any) -> Any:
    """Refuse a code without the verifier of its challenge."""
    form = grant.request.form
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenges.pop(form["code"], ""):
        raise InvalidGrantError("not the verifier of this code")
    return validate(grant)


GRANT.TOKEN_ENDPOINT_AUTH_METHODS = ["none"]
GRANT.save_authorization_code = save_with_challenge
GRANT.validate_token_request = validate_verifier

if __name__ == "__main__":
    program.run()
