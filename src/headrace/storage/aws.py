"""AWS credentials, and presigned URLs (Signature Version 4 in the query)."""

from __future__ import annotations

import configparser
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from obstore.store import S3Credential

REFRESH: Final = timedelta(minutes=10)  # how long obstore may use credentials that can expire


class Credentials(NamedTuple):
    """The credentials that sign a request."""

    key_id: str
    secret: str
    token: str | None = None


def from_environment(environ: Mapping[str, str]) -> Credentials | None:
    """The credentials of AWS_ACCESS_KEY_ID and its companions."""
    key_id, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not key_id or not secret:
        return None
    return Credentials(key_id, secret, environ.get("AWS_SESSION_TOKEN") or None)


def profile(environ: Mapping[str, str]) -> dict[str, str]:
    """The chosen section of ~/.aws/config and ~/.aws/credentials, the latter over the former."""
    name = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    merged: dict[str, str] = {}
    for variable, default, section in (
        ("AWS_CONFIG_FILE", "~/.aws/config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", name),
    ):
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(Path(environ.get(variable) or default).expanduser(), encoding="utf-8")
        if parser.has_section(section):
            merged |= dict(parser.items(section))
    return merged


def from_profile(values: Mapping[str, str]) -> Credentials | None:
    """The credentials in a profile; None for a profile that only refers to a source of credentials."""
    key_id, secret = values.get("aws_access_key_id"), values.get("aws_secret_access_key")
    if not key_id or not secret:
        return None
    return Credentials(key_id, secret, values.get("aws_session_token") or None)


class BotocoreCredentials:
    """The credentials of botocore: roles, single sign-on, processes, instance metadata. It refreshes them."""

    def __init__(self) -> None:
        import botocore.session  # an optional package, slow to import

        self._session: Any = botocore.session.get_session()  # botocore has no types

    def __call__(self) -> Credentials | None:
        """The current credentials. Blocks while botocore fetches new ones."""
        found = self._session.get_credentials()
        if found is None:
            return None
        frozen = found.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def for_obstore(provider: Callable[[], Credentials | None]) -> Callable[[], S3Credential]:
    """The provider as a function for obstore."""

    def fetch() -> S3Credential:
        found = provider()
        if found is None:
            raise ValueError("No AWS credentials were found.")
        return {
            "access_key_id": found.key_id,
            "secret_access_key": found.secret,
            "token": found.token,
            "expires_at": datetime.now(UTC) + REFRESH,
        }

    return fetch


def presign(
    method: str,
    url: str,
    credentials: Credentials,
    region: str,
    *,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    expires_s: int,
    now: datetime | None = None,
) -> str:
    """The URL with a signed query, which allows this method with these headers for `expires_s` seconds.

    `url` is percent-encoded and has no query. Source: the Signature Version 4 documentation of AWS.
    """
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    parts = urlsplit(url)
    signed = {"host": parts.netloc} | {k.lower(): v.strip() for k, v in headers.items()}
    names = ";".join(sorted(signed))
    parameters = dict(query) | {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": names,
    }
    if credentials.token:
        parameters["X-Amz-Security-Token"] = credentials.token
    canonical_query = "&".join(
        f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(parameters.items())
    )
    canonical_headers = "".join(f"{k}:{signed[k]}\n" for k in sorted(signed))
    request = "\n".join(
        (method, parts.path, canonical_query, canonical_headers, names, "UNSIGNED-PAYLOAD")
    )
    to_sign = "\n".join(
        ("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest())
    )
    key = f"AWS4{credentials.secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return f"{url}?{canonical_query}&X-Amz-Signature={signature}"
