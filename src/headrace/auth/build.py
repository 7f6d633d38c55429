"""Builds the authority of a server with users from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.auth.account import AccountReads
from headrace.auth.audit import Audit
from headrace.auth.bearer import scrape_token
from headrace.auth.external import ExternalUsers
from headrace.auth.failures import Failures
from headrace.auth.groups import groups_of
from headrace.auth.guard import UserAuthority
from headrace.auth.login import Authorization, Login, PasswordLogin
from headrace.auth.origins import origins_of
from headrace.auth.passwords import Passwords, Remembered
from headrace.auth.proxy import proxy_methods
from headrace.auth.tokens import Tokens
from headrace.settings.oidc import HOUR_S, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.auth.custom import CustomLogin
    from headrace.auth.login import Method
    from headrace.auth.oidc import Oidc
    from headrace.auth.origins import Origins
    from headrace.settings.table import Settings


def user_authority(settings: Settings) -> UserAuthority:
    """The authority; its databases are set by `UserAuthority.start`."""
    assert settings.auth is not None, "a server without users"
    accounts = AccountReads()
    origins = origins_of(settings)
    audit = Audit(origins)
    external = ExternalUsers(groups_of(settings), audit)
    oidc = _oidc(settings, external)
    custom = _custom(settings)
    auth = settings.auth
    cache = Remembered(auth.auth_cache_max_size, auth.auth_cache_ttl_seconds)
    failures = Failures(max_paused=settings.max_requests_in_flight // 4)
    by_password = PasswordLogin(accounts.find, Passwords(), origins, failures, cache)
    methods: Sequence[Method] = [custom] if custom else ()
    if custom is None:
        methods = _methods(settings, by_password, origins, external, oidc)
    return UserAuthority(
        Login(methods, scrape_token(settings)),
        accounts,
        audit,
        external,
        by_password,
        oidc,
        custom,
        default_permission=settings.auth.default_permission,
        fail_closed=settings.fail_closed,
        checks_graphql=settings.graphql_auth,
        opens_default=settings.auth.grant_default_workspace_access,
    )


def _oidc(settings: Settings, external: ExternalUsers) -> Oidc | None:
    """The OpenID providers at which users log in."""
    if settings.oidc_issuer is None:
        return None
    # Imported here, because the extra oidc may not be installed.
    from headrace.auth.oidc import Configuration, Oidc
    from headrace.auth.oidc_http import ProviderHttp

    # A plain text: a Secret is masked where the client formats it.
    secret = str.__str__(settings.oidc_client_secret or settings.oidc_client_secret_file)
    client_id = settings.oidc_client_id or ""
    configuration = Configuration(
        issuers=words(settings.oidc_issuer),
        audiences=words(settings.oidc_audience or ""),
        client_id=client_id,
        name_claims=words(settings.oidc_username_claim),
        groups_claim=settings.oidc_groups_claim or "",
        redirect_uri=settings.oidc_redirect_uri or "",
        secret_key=settings.secret_key,
        session_s=settings.oidc_session_hours * HOUR_S,
    )
    return Oidc(configuration, ProviderHttp(client_id, secret, settings.oidc_scopes), external)


def _custom(settings: Settings) -> CustomLogin | None:
    """MLflow's authorization_function, if it is not MLflow's own. It replaces every other login."""
    assert settings.auth is not None, "a server without users"
    function = settings.auth.custom_function
    if function is None:
        return None
    # Imported here to save start-up time: few servers have one.
    from headrace.auth.custom import CustomLogin

    return CustomLogin(function, settings.secret_key, settings.auth.database_uri)


def _methods(
    settings: Settings,
    by_password: PasswordLogin,
    origins: Origins,
    external: ExternalUsers,
    oidc: Oidc | None,
) -> Sequence[Method]:
    """The kinds of credentials that the server accepts, in the order in which they are tried."""
    first, last = proxy_methods(settings, origins, external)
    tokens = Tokens(settings.secret_key)
    if oidc is None:
        return [*first, Authorization(by_password, tokens), *last]
    return [*first, Authorization(by_password, tokens, oidc.bearer), oidc.sessions, *last]
