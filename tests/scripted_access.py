"""Users whose access a test writes down, on a real database: the app in this process, without login.

async with users_of(uri, ann=Granted(experiment=Scope(frozenset({"1"}), True))) as ask:
    answer = await ask("ann", "GET", "experiments/get", experiment_id="1")
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from headrace.api.routes import ROUTES
from headrace.auth.access import Access, Scope
from headrace.auth.authority import Authority, Caller, Head
from headrace.auth.rules import Needs
from headrace.http.app import App
from headrace.http.messages import Request, StreamingResponse
from headrace.settings.load import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from headrace.auth.rules import Resource, Rule
    from headrace.db.base import Tx


class Granted(Access):
    """Scopes by resource type, and what is denied; without a scope everything is readable.

    A type is denied (`run`), or an action on a type (`update review_queue`).
    """

    def __init__(self, *denied: str, **scopes: Scope) -> None:
        self.denied = denied
        self.scopes: Mapping[str, Scope] = scopes
        self.changes: list[tuple[str, ...]] = []

    def scope(self, resource: Resource) -> Scope | None:
        """See `Access.scope`."""
        return self.scopes.get(resource)

    def hides(self, resource: Resource) -> bool:
        """See `Access.hides`."""
        return resource in self.denied

    async def permits(self, rule: Rule, req: Any) -> bool:
        """See `Access.permits`: not what needs a denied type, or a denied action on a type."""
        assert isinstance(rule, Needs), "the rules of lists"
        needed = {text for n in rule.needs for text in (n.resource, f"{n.action} {n.resource}")}
        return not needed & set(self.denied)

    async def created(self, tx: Tx, resource: Resource, id_: str) -> None:
        """Keep the change."""
        self.changes.append(("created", resource, id_))

    async def deleted(self, tx: Tx, resource: Resource, id_: str) -> None:
        """Keep the change."""
        self.changes.append(("deleted", resource, id_))

    async def renamed(self, tx: Tx, resource: Resource, id_: str, new_id: str) -> None:
        """Keep the change."""
        self.changes.append(("renamed", resource, id_, new_id))

    async def finish(self) -> None:
        """Keep the call."""
        self.changes.append(("finished",))


class Written(Authority):
    """The name in a header, and the access that the test wrote for it; the rest does nothing."""

    def __init__(self, users: Mapping[str, Access]) -> None:
        self.users = users

    async def identify(self, rule: Rule, head: Head) -> Caller:
        """See `Authority.identify`."""
        return Caller(head.headers["x-user"])

    async def admit(
        self, rule: Rule, caller: Caller, req: Any, workspace: str | None = None
    ) -> Access:
        """See `Authority.admit`; no rule is checked."""
        return self.users[caller.name or ""]


class Answer:
    """An answer with its whole body, whether it came in pieces or not."""

    def __init__(self, status: int, body: bytes, *, in_pieces: bool) -> None:
        self.status = status
        self.body = body
        self.in_pieces = in_pieces

    @property
    def json(self) -> Any:
        """The body of an answer that must be 200."""
        assert self.status == 200, self.body
        return json.loads(self.body)


class Ask:
    """Sends requests of users to the app."""

    def __init__(self, app: App, users: dict[str, Access]) -> None:
        self.app = app
        self.users = users

    async def __call__(self, user: str, method: str, path: str, /, **fields: Any) -> Answer:
        """Ask a route under /api/2.0/mlflow/ (or an absolute path)."""
        headers = {"host": "localhost", "content-type": "application/json", "x-user": user}
        path = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
        query = urlencode(fields, doseq=True) if method == "GET" else ""
        request = Request(method, path, query, headers)
        request.give_body(b"" if method == "GET" else json.dumps(fields).encode())
        self.app.route(request)
        answer = await self.app.dispatch(request)
        body = answer.body
        in_pieces = isinstance(answer, StreamingResponse)
        if isinstance(answer, StreamingResponse):
            body = b"".join([piece async for piece in answer.chunks])
        return Answer(answer.status, body, in_pieces=in_pieces)


@asynccontextmanager
async def users_of(uri: str, root: str = "/nowhere", **users: Access) -> AsyncIterator[Ask]:
    """The app on a database, for these users; `admin` may do everything. Artifacts are in `root`."""
    settings = load({"backend_store_uri": uri, "artifacts_destination": root}, {})
    users = {"admin": Granted(), **users}
    app = App(settings, ROUTES, authority=Written(users))
    await app.start()
    try:
        yield Ask(app, users)
    finally:
        await app.stop()
