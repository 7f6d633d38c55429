"""Settings of logins at OpenID providers."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from headrace.auth.secure_url import is_secure
from headrace.extras import own_install_command
from headrace.settings.kinds import Kind, Secret, SettingError, integer, row
from headrace.settings.login import LoginSettings
from headrace.settings.users import USERS

PACKAGES: Final = ("authlib", "httpx2", "joserfc")
CALLBACK: Final = "/oidc/callback"
HOUR_S: Final = 3600


def words(value: str) -> tuple[str, ...]:
    """The texts between commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def issuers(value: str) -> str:
    """Check issuers, separated by commas."""
    found = words(value)
    for issuer in found:
        if not is_secure(issuer):
            raise ValueError(f"'{issuer}' is not a URL with https")
    if not found:
        raise ValueError("it names no issuer")
    return value


def some_words(value: str) -> str:
    """Check texts separated by commas."""
    if not words(value):
        raise ValueError("it is empty")
    return value


def redirect_uri(value: str) -> str:
    """Check the address to which the provider sends browsers back."""
    if not is_secure(value) or not value.endswith(CALLBACK):
        raise ValueError(f"'{value}' is not a URL with https that ends with {CALLBACK}")
    return value


def secret_file(value: str) -> Secret:
    """Read a secret from a file."""
    try:
        content = Path(value).read_text("utf-8").strip()
    except (OSError, UnicodeError):
        raise ValueError(f"the file '{value}' cannot be read") from None
    if not content:
        raise ValueError(f"the file '{value}' is empty")
    return Secret(content)


@dataclasses.dataclass(frozen=True)
class OidcSettings(LoginSettings):
    """The rows of OpenID; see `table` for the others."""

    oidc_issuer: str | None = row(
        USERS,
        None,
        Kind("URLS", issuers),
        flags="--oidc-issuer",
        env="HEADRACE_OIDC_ISSUER",
        help="The OpenID provider at which users log in, as in `iss` of its tokens; several are separated "
        "by commas. A login acts as the user of the name it gives. The page uses the first one. Needs "
        "--oidc-audience, --oidc-client-id or both, and the extra oidc.",
        default_text="none: no logins at a provider",
    )
    oidc_audience: str | None = row(
        USERS,
        None,
        Kind("NAMES", some_words),
        flags="--oidc-audience",
        env="HEADRACE_OIDC_AUDIENCE",
        help="Accept bearer tokens (JWT, in MLFLOW_TRACKING_TOKEN) of the provider with this audience; "
        "several are separated by commas.",
        default_text="none: bearer tokens of the provider are refused",
    )
    oidc_client_id: str | None = row(
        USERS,
        None,
        Kind("ID", some_words),
        flags="--oidc-client-id",
        env="HEADRACE_OIDC_CLIENT_ID",
        help="Log browsers in at the provider, as this client. Register the address of the server "
        "with the ending /oidc/callback there.",
        default_text="none: browsers ask for a password",
    )
    oidc_client_secret: str = row(
        USERS,
        Secret(""),
        Kind("SECRET", Secret),
        env="HEADRACE_OIDC_CLIENT_SECRET",
        help="The secret of the client. A client without a secret uses PKCE alone.",
        default_text="none",
    )
    oidc_client_secret_file: str = row(
        USERS,
        Secret(""),
        Kind("FILE", secret_file),
        flags="--oidc-client-secret-file",
        env="HEADRACE_OIDC_CLIENT_SECRET_FILE",
        help="A file with the secret of the client. It is read at the start.",
        default_text="none",
    )
    oidc_scopes: str = row(
        USERS,
        "openid profile email",
        Kind("NAMES", some_words),
        flags="--oidc-scopes",
        env="HEADRACE_OIDC_SCOPES",
        help="The scopes of a login of the page.",
    )
    oidc_username_claim: str = row(
        USERS,
        "preferred_username,email,sub",
        Kind("CLAIMS", some_words),
        flags="--oidc-username-claim",
        env="HEADRACE_OIDC_USERNAME_CLAIM",
        help="The claims of a token that name the user; the first one that it has counts. Use only "
        "claims that users cannot choose themselves. An e-mail address that the provider has not "
        "verified does not count.",
    )
    oidc_groups_claim: str | None = row(
        USERS,
        None,
        Kind("CLAIM", some_words),
        flags="--oidc-groups-claim",
        env="HEADRACE_OIDC_GROUPS_CLAIM",
        help="The claim with the groups of the user, such as groups or realm_access.roles. "
        "--auth-group-roles and --auth-admin-groups say what they mean.",
        default_text="none: roles are assigned by admins only",
    )
    oidc_redirect_uri: str | None = row(
        USERS,
        None,
        Kind("URL", redirect_uri),
        flags="--oidc-redirect-uri",
        env="HEADRACE_OIDC_REDIRECT_URI",
        help="The address to which the provider sends browsers back, such as "
        "https://mlflow.example.com/oidc/callback.",
        default_text="from the headers Host and X-Forwarded-Proto of each request",
    )
    oidc_session_hours: int = row(
        USERS,
        8,
        integer(1, 720),
        flags="--oidc-session-hours",
        env="HEADRACE_OIDC_SESSION_HOURS",
        help="The time after which a browser logs in again.",
    )

    @property
    def has_page_login(self) -> bool:
        """Whether browsers log in at a provider."""
        return bool(self.oidc_issuer and self.oidc_client_id)


def check_oidc(settings: OidcSettings, *, has_users: bool) -> None:
    """Raise SettingError if logins at a provider cannot work with these settings."""
    if not settings.oidc_issuer:
        if settings.oidc_client_id or settings.oidc_audience:
            raise SettingError("--oidc-client-id and --oidc-audience need --oidc-issuer.")
        return
    if not has_users:
        raise SettingError("--oidc-issuer needs users: add --app-name basic-auth.")
    if not settings.oidc_client_id and not settings.oidc_audience:
        raise SettingError("--oidc-issuer needs --oidc-audience, --oidc-client-id or both.")
    if settings.oidc_client_secret and settings.oidc_client_secret_file:
        raise SettingError(
            "HEADRACE_OIDC_CLIENT_SECRET and --oidc-client-secret-file exclude each other."
        )
    if any(find_spec(name) is None for name in PACKAGES):
        raise SettingError(f"--oidc-issuer needs further packages: {own_install_command('oidc')}")
