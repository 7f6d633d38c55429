"""The database of users, roles and grants of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.db.open import open_users

if TYPE_CHECKING:
    from headrace.db.base import Database
    from headrace.db.schema.auth import AuthFacts
    from headrace.settings.table import Settings


class Accounts:
    """The database with the tables of users: the tracking database, or another one.

    `in_tracking`: a transaction on experiments or models can write grants too.
    """

    __slots__ = ("db", "facts", "in_tracking")

    def __init__(self, db: Database, facts: AuthFacts, *, in_tracking: bool) -> None:
        self.db = db
        self.facts = facts
        self.in_tracking = in_tracking

    async def close(self) -> None:
        """Close the database, unless it is the tracking database."""
        if not self.in_tracking:
            await self.db.close()


async def open_accounts(settings: Settings, tracking: Database) -> Accounts:
    """Open the database of users; make their tables if it has none.

    Raises `UnusableDatabase` or `UriError` when it cannot be served.
    """
    assert settings.auth is not None, "a server without users"
    db, facts = await open_users(settings, settings.auth.database_uri, tracking)
    return Accounts(db, facts, in_tracking=db is tracking)
