"""The first admin of a server with users: who is made, what is refused, and what is warned about."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.fix_users import accounts_in

from headrace.auth import passwords, users
from headrace.auth.bootstrap import bootstrap
from headrace.settings.auth import AuthSettings
from headrace.settings.kinds import Secret, SettingError

if TYPE_CHECKING:
    from headrace.auth.open import Accounts

PUBLISHED = "password1234"
RIGHT = "a right long password"


def configured(name: str = "admin", password: str = "") -> AuthSettings:
    """A configuration with this admin."""
    return AuthSettings(
        "READ", "sqlite:///unused.db", admin_username=name, admin_password=Secret(password)
    )


async def has_password(accounts: Accounts, name: str, password: str) -> bool:
    """Whether the user exists and has the password."""
    user = await accounts.db.read(users.find, name)
    known = passwords.parse(user.password_hash) if user else None
    return known is not None and known.matches(password)


async def test_the_admin_is_made_once(uri: str) -> None:
    """Afterwards the configured password has no effect, and needs not be there."""
    async with accounts_in(uri) as accounts:
        await bootstrap(accounts, configured("root", RIGHT))
        found = await accounts.db.read(users.get, "root")
        assert found.is_admin
        for password in ("", "another long password", "short", PUBLISHED):
            await bootstrap(accounts, configured("root", password))
        assert await accounts.db.read(users.get, "root") == found
        assert await has_password(accounts, "root", RIGHT)


async def test_processes_that_start_together_make_one_admin(uri: str) -> None:
    async with accounts_in(uri) as accounts:
        await asyncio.gather(*(bootstrap(accounts, configured("root", RIGHT)) for _ in range(3)))
        assert [user.username for user in await accounts.db.read(users.page, 0, 10)] == ["root"]


@pytest.mark.parametrize(
    ("auth", "says"),
    [
        (configured("", RIGHT), "set MLFLOW_AUTH_ADMIN_USERNAME, or admin_username"),
        (configured("ann"), "no user ann yet, and no password.* set MLFLOW_AUTH_ADMIN_PASSWORD"),
        (configured("ann", PUBLISHED), "MLflow published.* set MLFLOW_AUTH_ADMIN_PASSWORD"),
        (configured("ann", "elevenchars"), "too short: set MLFLOW_AUTH_ADMIN_PASSWORD"),
        (configured("a" * 256, RIGHT), "at most 255 characters"),
    ],
)
async def test_a_configuration_without_an_admin_is_refused(
    uri: str, auth: AuthSettings, says: str
) -> None:
    """With one sentence that says what to set, and without the password."""
    async with accounts_in(uri) as accounts:
        with pytest.raises(SettingError, match=says) as caught:
            await bootstrap(accounts, auth)
        for word in (RIGHT, "elevenchars", PUBLISHED):
            assert word not in str(caught.value)
        assert await accounts.db.read(users.page, 0, 10) == []


async def test_the_published_password_is_replaced(
    uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By the configured one, if that is another; until then a warning says how."""
    async with accounts_in(uri) as accounts:
        stored = passwords.hashed(PUBLISHED)
        for name in ("admin", "root"):
            await accounts.db.write(users.create, name, stored, True)
        for password in ("", PUBLISHED):
            caplog.clear()
            await bootstrap(accounts, configured("root", password))
            assert "user root still has" in caplog.text and "user admin still has" in caplog.text
        with pytest.raises(SettingError, match="too short"):
            await bootstrap(accounts, configured("root", "short"))
        caplog.clear()
        await bootstrap(accounts, configured("root", RIGHT))
        assert "replaced the published password" in caplog.text
        assert "user root" not in caplog.text and "user admin still has" in caplog.text
        assert await has_password(accounts, "root", RIGHT)
        assert RIGHT not in caplog.text and PUBLISHED not in caplog.text
