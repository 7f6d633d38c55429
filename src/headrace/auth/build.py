"""Builds the authority of a server with users from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.auth.account import AccountReads
from headrace.auth.audit import Audit
from headrace.auth.bearer import scrape_token
from headrace.auth.external import ExternalUsers
from headrace.auth.groups import groups_of
from headrace.auth.guard import UserAuthority
from headrace.auth.login import Authorization, Login, PasswordLogin
from headrace.auth.origins import origins_of
from headrace.auth.passwords import Passwords
from headrace.auth.proxy import proxy_methods
from headrace.auth.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.auth.login import Method
    from headrace.auth.origins import Origins
    from headrace.settings.table import Settings


def user_authority(settings: Settings) -> UserAuthority:
    """The authority; its databases are set by `UserAuthority.start`."""
    assert settings.auth is not None, "a server without users"
    accounts = AccountReads()
    origins = origins_of(settings)
    audit = Audit(origins)
    external = ExternalUsers(groups_of(settings), audit)
    methods = _methods(settings, accounts, origins, external)
    return UserAuthority(
        Login(methods, scrape_token(settings)),
        accounts,
        audit,
        external,
        default_permission=settings.auth.default_permission,
        fail_closed=settings.fail_closed,
        checks_graphql=settings.graphql_auth,
    )


def _methods(
    settings: Settings, accounts: AccountReads, origins: Origins, external: ExternalUsers
) -> Sequence[Method]:
    """The kinds of credentials that the server accepts, in the order in which they are tried."""
    assert settings.auth is not None, "a server without users"
    function = settings.auth.custom_function
    if function is not None:
        # Imported here because it loads MLflow.
        from headrace.auth.custom import CustomLogin

        return [CustomLogin(function, settings.secret_key, settings.auth.database_uri)]
    first, last = proxy_methods(settings, origins, external)
    passwords = PasswordLogin(accounts.find, Passwords(), origins)
    return [*first, Authorization(passwords, Tokens(settings.secret_key)), *last]
