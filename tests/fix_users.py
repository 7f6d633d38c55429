"""A database of users, opened beside a tracking database."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from headrace.auth.open import open_accounts
from headrace.db.open import open_database
from headrace.settings.auth import AuthSettings
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.auth.open import Accounts


@asynccontextmanager
async def accounts_in(tracking: str, users: str | None = None) -> AsyncIterator[Accounts]:
    """The users in the database `users`, by default in the tracking database."""
    auth = AuthSettings("READ", users or tracking)
    settings = Settings(backend_store_uri=tracking, auth=auth)
    db = await open_database(settings)
    try:
        accounts = await open_accounts(settings, db)
        try:
            yield accounts
        finally:
            await accounts.close()
    finally:
        await db.close()
