"""The process-wide objects of handlers: one Context, built by `http.app` or `client.engine`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from headrace.api.nouns import Event
from headrace.api.threads import Threads
from headrace.auth.access import UNRESTRICTED, Access
from headrace.auth.foreign import ForeignIds, RequestIds
from headrace.commit.group import GroupCommit
from headrace.commit.reads import BatchedReads, ReadsIn, SharedReads
from headrace.contract.errors import unavailable
from headrace.contract.workspaces import DEFAULT
from headrace.db.base import Database
from headrace.db.errors import DatabaseError
from headrace.db.workspace import DatabaseIn
from headrace.db.workspaces_sql import Root
from headrace.monitor.readiness import Readiness
from headrace.settings.table import Settings
from headrace.storage.locations import Locations

if TYPE_CHECKING:
    from headrace.api.route import Route
    from headrace.auth.authority import Authority, Head
    from headrace.auth.oidc import Oidc
    from headrace.auth.open import Accounts
    from headrace.db.schema.auth import AuthFacts
    from headrace.monitor.monitor import Monitor


log = logging.getLogger(__name__)
MAX_WORKSPACES: Final = 256  # whose contexts are kept; making one takes 3 us
MAX_LOOKUPS: Final = 4  # of addresses of hosts at a time


class Webhooks(Protocol):
    """Delivers events to webhooks."""

    def announce(
        self,
        event: Event | None,
        data: Mapping[str, Any],
        prompt_event: Event | None = None,
        *,
        workspace: str | None = None,
    ) -> None:
        """Deliver a committed event in the background.

        `prompt_event` replaces `event` when the model `data["name"]` is a prompt. `workspace`: in
        which it happened, on a server with workspaces.
        """

    async def close(self) -> None:
        """Stop the deliveries in progress."""


class Context:
    """The process's database, its read and write queues, artifact stores, settings and counters.

    A server with users passes each handler a copy with the `access` of the caller, and a server
    with workspaces one of the request's workspace. `runs` reads runs by id in batches. Only a server
    has counters, webhooks and routes; the Python API runs the same handlers without them.
    """

    def __init__(
        self,
        db: Database,
        writer: GroupCommit,
        settings: Settings,
        *,
        runs: BatchedReads[str, Any],
        monitor: Monitor | None = None,
        webhooks: Webhooks | None = None,
        routes: tuple[Route, ...] = (),
        accounts: Accounts | None = None,
        authority: Authority | None = None,
    ) -> None:
        self.db = db
        self.writer = writer
        self.settings = settings
        self.runs = runs
        self.webhooks = webhooks
        self.routes = routes
        self.artifacts = Locations(settings)
        others = [] if accounts is None or accounts.in_tracking else [accounts.db]
        self.readiness = Readiness(db, *others)
        self.shared = SharedReads()
        self.lookups = Threads(MAX_LOOKUPS)
        self._monitor = monitor
        self._accounts = accounts
        self._authority = authority
        self._head: Head | None = None
        self.access: Access = UNRESTRICTED
        self.workspace = DEFAULT
        self._foreign = ForeignIds(db) if settings.enable_workspaces else None
        self._workspaces: dict[str, Context] = {}
        self.oidc: Oidc | None = None  # set by the authority of a server with an OpenID provider

    def in_workspace(self, name: str) -> Context:
        """This context for requests of a workspace: its `db` finds and writes the rows of this one.

        Only for a server with workspaces, where `default` is a workspace like the others. The
        writer is shared: its operations name runs, traces and experiments by id, not by name.
        """
        context = self._workspaces.get(name)
        if context is None:
            if len(self._workspaces) >= MAX_WORKSPACES:
                del self._workspaces[next(iter(self._workspaces))]
            context = self._workspaces[name] = Context.__new__(Context)
            context.__dict__ |= self.__dict__
            context.workspace = name
            context.db = DatabaseIn(self.db, name)
            context.artifacts = self.artifacts.within(name)
            context.shared = cast("SharedReads", ReadsIn(self.shared, name))
        return context

    def request_ids(self) -> RequestIds:
        """The ids of a new request in this workspace."""
        return RequestIds(self._foreign, self.workspace)

    @property
    def new_experiments(self) -> Root:
        """Where the artifacts of new experiments are."""
        return Root(self.settings.default_artifact_root, self.workspace_or_none)

    @property
    def workspace_or_none(self) -> str | None:
        """The workspace of the request; None on a server without workspaces."""
        return self.workspace if self.settings.enable_workspaces else None

    def on_behalf_of(self, access: Access, head: Head) -> Context:
        """A copy of this context for one request of a caller."""
        other = Context.__new__(Context)
        other.__dict__ = self.__dict__.copy()  # copy.copy takes six times as long
        other.access = access
        other._head = head
        return other

    async def finish(self, undo: Callable[..., Awaitable[bool]] | None = None, *args: Any) -> None:
        """Write the grants that follow from a committed change, see `Access.finish`.

        If that fails, `undo(tx, *args)` takes the change back and returns True, or leaves it if
        another request has used it. Raises 503 for a change that stays without its grants.
        """
        try:
            await self.access.finish()
        except Exception as error:
            if undo is None or not await self._undone(undo, *args):
                raise unavailable(
                    "The change is stored, but the users' permissions on it are not, because their "
                    "database did not answer."
                ) from error
            raise

    async def _undone(self, undo: Callable[..., Awaitable[bool]], *args: Any) -> bool:
        try:
            return await self.db.write(undo, *args)
        except DatabaseError as error:
            log.error("a change without its grants could not be taken back: %s", error.kind)
            return False

    def changed(self, action: str, **objects: object) -> None:
        """Log a committed change of users, roles or grants by the caller. See `Authority.changed`."""
        assert self._head is not None, "a request of a server with users"
        self.authority.changed(self._head, self.access.username, action, **objects)

    async def verify_password(self, password: str, stored: str) -> str:
        """Check a password of the caller. See `Authority.verify`."""
        assert self._head is not None, "a request of a server with users"
        assert self.access.username is not None, "a request of a server with users"
        return await self.authority.verify(self.access.username, password, stored, self._head)

    @property
    def sent_password(self) -> bool:
        """Whether the caller of a request sent a password, not a token, a cookie or a proxy's header."""
        headers = self._head.headers if self._head is not None else {}
        return headers.get("authorization", "")[:6].lower() == "basic "

    @property
    def authority(self) -> Authority:
        """Knows the users. Only a server with users has it."""
        assert self._authority is not None, "a server without users"
        return self._authority

    @property
    def monitor(self) -> Monitor:
        """The counters of this server."""
        assert self._monitor is not None, "only a server has counters"
        return self._monitor

    @property
    def accounts(self) -> Accounts:
        """The database of users. Only a server with users has it."""
        assert self._accounts is not None, "a server without users"
        return self._accounts

    @property
    def user_facts(self) -> AuthFacts | None:
        """The facts about the tables of users, in a server with users."""
        return None if self._accounts is None else self._accounts.facts

    def announce(
        self, event: Event | None, data: Mapping[str, Any], prompt_event: Event | None = None
    ) -> None:
        """See `Webhooks.announce`."""
        if self.webhooks is not None:
            workspace = self.workspace_or_none
            self.webhooks.announce(event, data, prompt_event, workspace=workspace)

    async def close(self) -> None:
        """Finish the background work, then commit the queued writes and close the database."""
        if self.webhooks is not None:
            await self.webhooks.close()
        await self.writer.close()
        await self.db.close()
        if self.oidc is not None:
            await self.oidc.close()
        if self._accounts is not None:
            await self._accounts.close()
        self.artifacts.close()

    def with_access(self, access: Access) -> Context:
        """A copy of this context for another part of the same request."""
        other = Context.__new__(Context)
        other.__dict__ = self.__dict__.copy()
        other.access = access
        return other
