"""The first admin of a server with users, made at its start, and warnings about a published password."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from headrace.auth import passwords, users
from headrace.auth.login import PUBLISHED_PASSWORD
from headrace.contract.errors import ApiError, ErrorCode
from headrace.settings.auth import ADMIN_PASSWORD, ADMIN_USERNAME, CONFIG_PATH
from headrace.settings.kinds import SettingError

if TYPE_CHECKING:
    from headrace.auth.open import Accounts
    from headrace.settings.auth import AuthSettings

log = logging.getLogger(__name__)
# The name of the admin in the file that MLflow brings.
USUAL_NAME: Final = "admin"


async def bootstrap(accounts: Accounts, auth: AuthSettings) -> None:
    """Make the configured admin if no user has that name. Many processes may run it at once.

    An admin who exists keeps the stored password, unless that is the one which MLflow published
    and another one is configured. Raises SettingError for a configuration without a usable admin.
    """
    name, password = auth.admin_username, auth.admin_password
    if not name:
        raise SettingError(
            f"The users need an admin: set {ADMIN_USERNAME}, or admin_username in the file of {CONFIG_PATH}."
        )
    found = await accounts.db.read_point(users.find, name)
    if found is None:
        _check_password(name, password)
        await _create(accounts, name, password)
    elif password and password != PUBLISHED_PASSWORD and await _is_published(found.password_hash):
        _check_password(name, password)
        stored = await asyncio.to_thread(passwords.hashed, password)
        checked = found.password_hash
        if await accounts.db.write(users.replace_password_hash, name, checked, stored):
            log.warning(
                "replaced the published password of the admin with the configured one. Remove %s, or "
                "admin_password from the file, now.",
                ADMIN_PASSWORD,
            )
    for candidate in dict.fromkeys((name, USUAL_NAME)):
        user = await accounts.db.read_point(users.find, candidate)
        if user is not None and await _is_published(user.password_hash):
            log.warning(
                "the user %s still has the password that MLflow published before 3.16.1; as an admin, "
                "he cannot log in with it. To replace it, set %s and restart, or run: headrace auth "
                "user set-password %s",
                candidate,
                ADMIN_PASSWORD,
                candidate,
            )


def _check_password(name: str, password: str) -> None:
    """Raise SettingError for a password that the admin must not have."""
    setting = f"{ADMIN_PASSWORD}, or admin_password in the file of {CONFIG_PATH}"
    least = f"at least {users.MIN_PASSWORD} characters"
    if not password:
        raise SettingError(
            f"There is no user {name} yet, and no password to create this admin: set {setting}, to a text "
            f"of {least}."
        )
    if password == PUBLISHED_PASSWORD:
        raise SettingError(
            f"The configured password of the admin {name} is the one that MLflow published before 3.16.1: "
            f"set {setting}, to another text of {least}."
        )
    if len(password) < users.MIN_PASSWORD:
        raise SettingError(
            f"The configured password of the admin {name} is too short: set {setting}, to a text of {least}."
        )


async def _create(accounts: Accounts, name: str, password: str) -> None:
    stored = await asyncio.to_thread(passwords.hashed, password)
    try:
        await accounts.db.write(users.create, name, stored, True)
    except ApiError as error:
        if error.code == ErrorCode.RESOURCE_ALREADY_EXISTS:
            return  # another process has just made the same user
        raise SettingError(f"The admin {name} cannot be created: {error.message}") from error
    log.info("created the admin %s", name)


async def _is_published(stored: str) -> bool:
    """Whether a stored hash is that of the published password."""
    known = passwords.parse(stored)
    return known is not None and await asyncio.to_thread(known.matches, PUBLISHED_PASSWORD)
