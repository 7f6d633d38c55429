"""HTTP to an OpenID provider: bounded in time, size and number, and never with a redirect."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any, Final

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from headrace.auth.sessions import LoginFailed
from headrace.contract.errors import overloaded, unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

log = logging.getLogger(__name__)
TIMEOUT_S: Final = 10.0  # of one request with its answer
MAX_BYTES: Final = 512 << 10
MAX_LOGINS: Final = 16  # that wait for the provider at a time
NO_ANSWER: Final = "The OpenID provider does not answer. Please try again."


class ProviderHttp:
    """The requests to the provider of one client. Without a secret it is a public client."""

    def __init__(self, client_id: str, client_secret: str, scopes: str) -> None:
        # It logs each request at the level of information.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self._documents = httpx2.AsyncClient(timeout=TIMEOUT_S)
        self._oauth = AsyncOAuth2Client(
            client_id,
            client_secret or None,
            scope=scopes,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if client_secret else "none",
            timeout=TIMEOUT_S,
        )
        self._logins = 0

    async def fetch(self, url: str) -> Any:
        """The JSON document at a URL. Raises OSError or ValueError."""
        return await self._json(url, {})

    def authorization_url(
        self, endpoint: str, redirect_uri: str, state: str, nonce: str, verifier: str
    ) -> str:
        """See `oidc_login.Http`."""
        url: str
        url, _ = self._oauth.create_authorization_url(
            endpoint, state, verifier, redirect_uri=redirect_uri, nonce=nonce
        )
        return url

    async def exchange(
        self, endpoint: str, redirect_uri: str, code: str, verifier: str
    ) -> Mapping[str, Any]:
        """See `oidc_login.Http`."""
        async with self._turn():
            tokens: Mapping[str, Any] = await self._oauth.fetch_token(
                endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=verifier,
                redirect_uri=redirect_uri,
            )
        return tokens

    async def user_info(self, endpoint: str, access_token: str) -> Mapping[str, Any]:
        """See `oidc_login.Http`."""
        async with self._turn():
            found = await self._json(endpoint, {"authorization": f"Bearer {access_token}"})
        return found if isinstance(found, dict) else {}

    async def close(self) -> None:
        """Close the connections."""
        await self._documents.aclose()
        await self._oauth.aclose()

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One request of a login. Raises ApiError (503) and LoginFailed."""
        if self._logins >= MAX_LOGINS:
            raise overloaded("Too many logins are in progress. Please try again.")
        self._logins += 1
        try:
            async with asyncio.timeout(TIMEOUT_S):
                yield
        except OAuthError as error:
            # The text of the error may contain the code.
            log.info("the OpenID provider refused a login (%s)", type(error).__name__)
            raise LoginFailed("the provider refused the code") from None
        except (httpx2.HTTPError, TimeoutError) as error:
            log.error("the OpenID provider does not answer: %s", type(error).__name__)
            raise unavailable(NO_ANSWER) from None
        except ValueError:
            raise LoginFailed("the provider sent an answer that is not JSON") from None
        finally:
            self._logins -= 1

    async def _json(self, url: str, headers: Mapping[str, str]) -> Any:
        body = bytearray()
        async with (
            asyncio.timeout(TIMEOUT_S),
            self._documents.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError(f"status {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("a document that is too long")
        return json.loads(body)
