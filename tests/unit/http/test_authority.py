"""The rules of routes are checked on the request that the handler gets; without users they cost nothing."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from headrace.api.route import Raw, Route
from headrace.api.routes import ROUTES
from headrace.auth.access import UNRESTRICTED, Access
from headrace.auth.authority import Caller, Denied, Head, Unauthenticated
from headrace.auth.passwords import Passwords
from headrace.auth.rules import OPEN, UNRULED, Rule, experiment, logged_model, needs, run
from headrace.contract.scalars import Empty, Message, OptionalStr
from headrace.http.app import App
from headrace.http.messages import Request, Response
from headrace.http.router import Endpoint, Router
from headrace.monitor.monitor import layout_of
from headrace.settings.load import load

if TYPE_CHECKING:
    from headrace.api.context import Context

JSON = {"host": "localhost", "content-type": "application/json", "x-user": "ann"}


class Move(Message):
    """A request whose fields come from the body or the query, and from the path."""

    run_id: OptionalStr = None
    model_id: OptionalStr = None
    experiment_id: OptionalStr = None


class Scripted:
    """Allows what `denied` does not name, and keeps what it was asked."""

    passwords = Passwords()

    def __init__(self, *denied: str) -> None:
        self.denied = set(denied)
        self.judged: list[tuple[str | None, list[str | None]]] = []
        self.rules: list[Rule] = []
        self.refusals: list[tuple[str, str | None, type[Exception]]] = []

    def start(self, ctx: Context) -> None:
        """Needs no database."""

    async def identify(self, rule: Rule, head: Head) -> Caller:
        """The name in a header."""
        name = head.headers.get("x-user")
        if name is None and rule is not OPEN:
            raise Unauthenticated
        return Caller(name)

    async def admit(
        self, rule: Rule, caller: Caller, req: Any, workspace: str | None = None
    ) -> Access:
        """Refuse the ids of `denied`."""
        ids = [demand.id for demand in rule.demands(req)]
        self.judged.append((caller.name, ids))
        self.rules.append(rule)
        if self.denied.intersection(ids):
            raise Denied
        return UNRESTRICTED

    def refused(self, head: Head, route: str, caller: Caller | None, error: Exception) -> None:
        """Keep what would be logged."""
        self.refusals.append((route, None if caller is None else caller.name, type(error)))


class Denying(Scripted):
    """Admits nobody."""

    async def admit(
        self, rule: Rule, caller: Caller, req: Any, workspace: str | None = None
    ) -> Access:
        """Refuse."""
        raise Denied


class NoContext:
    """Stands for the context, of which only the schema of the database is used here."""

    db = SimpleNamespace(schema=SimpleNamespace(head=""))

    def on_behalf_of(self, access: Access, head: Head) -> NoContext:
        """This context."""
        return self


class Served:
    """An app with three routes, and what their handlers got."""

    def __init__(self, authority: Scripted | None) -> None:
        self.got: list[Any] = []
        rule = needs(run("update", "run_id"), logged_model("read"), experiment("read"))
        self.app = App(
            load({}, {}),
            (
                Route("POST", "/models/{model_id}/move", self.move, rule),
                Route("GET", "/models/{model_id}", self.move, rule),
                Raw("GET", "/files/{model_id}", self.raw, rule),
                Route("GET", "/open", self.move, OPEN),
            ),
            authority=authority,
        )
        self.app.context = cast("Any", NoContext())

    async def move(self, req: Move, ctx: Any) -> Empty:
        """Keep the request."""
        self.got.append((req.run_id, req.model_id, req.experiment_id))
        return Empty()

    async def raw(self, request: Request, ctx: Any) -> Response:
        """Keep the fields of the request."""
        fields = request.fields()
        self.got.append(tuple(fields.get(n) for n in ("run_id", "model_id", "experiment_id")))
        return Response(b"{}")

    async def ask(self, method: str, path: str, query: str = "", body: Any = None) -> Response:
        """Route and answer a request."""
        request = Request(method, path, query, dict(JSON))
        request.give_body(b"" if body is None else json.dumps(body).encode())
        self.app.route(request)
        return await self.app.dispatch(request)


REQUESTS = (
    ("POST", "/models/m-path/move", "run_id=r-query", {"run_id": "r", "model_id": "m-body"}),
    ("POST", "/models/m-path/move", "", {"runId": "r", "modelId": "m-body"}),  # camelCase
    ("GET", "/models/m-path", "run_id=r&run_id=second&model_id=m-query", {"run_id": "r-body"}),
    ("GET", "/files/m-path", "run_id=r&run_id=second&model_id=m-query", None),
)


@pytest.mark.parametrize(("method", "path", "query", "body"), REQUESTS)
async def test_the_ids_that_are_judged_are_those_that_the_handler_gets(
    method: str, path: str, query: str, body: Any
) -> None:
    authority = Scripted()
    served = Served(authority)
    answer = await served.ask(method, path, query, body)
    assert answer.status == 200
    assert served.got == [("r", "m-path", None)]
    assert authority.judged == [("ann", ["r", "m-path"])]


@pytest.mark.parametrize(("method", "path", "query", "body"), REQUESTS)
@pytest.mark.parametrize("denied", ["r", "m-path"])
async def test_a_request_that_is_denied_reaches_no_handler(
    method: str, path: str, query: str, body: Any, denied: str
) -> None:
    served = Served(Scripted(denied))
    answer = await served.ask(method, path, query, body)
    assert answer.status == 403
    assert answer.body == b"Permission denied"
    assert not served.got


async def test_head_is_for_admins_and_open_routes_as_in_mlflow() -> None:
    authority = Scripted()
    served = Served(authority)
    for path in ("/files/m-path", "/models/m-path", "/open"):
        await served.ask("HEAD", path)
    assert authority.rules == [UNRULED, UNRULED, OPEN]


async def test_a_denial_of_ids_that_are_not_acted_on_changes_nothing() -> None:
    served = Served(Scripted("m-body", "m-query", "r-query", "r-body", "second"))
    for request in REQUESTS:
        assert (await served.ask(*request)).status == 200


async def test_a_request_that_cannot_be_decoded_is_judged_by_the_ids_in_it() -> None:
    """As in MLflow, which checks its rules first: a caller without permission does not learn what is wrong."""
    request = ("POST", "/models/m/move", "", {"run_id": "r", "experiment_id": 5})
    for denied, status in (("r", 403), ("m", 403), ("other", 400)):
        authority = Scripted(denied)
        served = Served(authority)
        assert (await served.ask(*request)).status == status
        assert authority.judged == [("ann", ["r", "m", "5"])]
        assert not served.got


@pytest.mark.parametrize("body", ["x", [], {"run_id": {"a": 1}}, {"run_id": [1], "model_id": True}])
async def test_whatever_cannot_be_decoded_is_a_refusal(body: Any) -> None:
    assert (await Served(Scripted()).ask("POST", "/models/m/move", "", body)).status == 400


async def test_a_request_without_credentials_is_refused_before_its_body_is_read() -> None:
    authority = Scripted()
    served = Served(authority)
    request = Request("GET", "/models/m", "", {"host": "localhost"})
    served.app.route(request)
    answer = await served.app.dispatch(request)
    assert answer.status == 401
    assert ("www-authenticate", 'Basic realm="mlflow"') in answer.headers
    assert not authority.judged


async def test_refused_requests_are_logged_with_their_route_and_caller() -> None:
    authority = Scripted("m-path")
    served = Served(authority)
    await served.ask("POST", "/models/m-path/move", "", {})
    anonymous = Request("GET", "/models/m-path", "", {"host": "localhost"})
    served.app.route(anonymous)
    await served.app.dispatch(anonymous)
    assert authority.refusals == [
        ("/models/{model_id}/move", "ann", Denied),
        ("/models/{model_id}", None, Unauthenticated),
    ]


async def test_every_route_is_judged_even_an_open_one() -> None:
    authority = Scripted()
    assert (await Served(authority).ask("GET", "/open")).status == 200
    assert authority.judged == [("ann", [])]


@pytest.mark.parametrize(
    ("path", "status"), [("/api/3.0/mlflow/traces/t-1", 403), ("/no/such/path", 403)]
)
async def test_no_request_goes_to_stock_unchecked(path: str, status: int) -> None:
    assert (await Served(Denying()).ask("GET", path)).status == status


async def test_no_anonymous_request_goes_to_stock() -> None:
    served = Served(Scripted())
    for method, path in (
        ("GET", "/api/3.0/mlflow/traces/t-1"),
        ("POST", "/gateway/mlflow/v1/chat/completions"),
        ("HEAD", "/ajax-api/3.0/jobs/j-1"),
        ("PUT", "/ajax-api/3.0/jobs/j-1"),
    ):
        request = Request(method, path, "", {"host": "localhost"})
        served.app.route(request)
        assert (await served.app.dispatch(request)).status == 401


async def test_without_users_nothing_is_judged() -> None:
    served = Served(None)
    assert (await served.ask(*REQUESTS[0])).status == 200
    router = Router(ROUTES, layout_of(ROUTES).cells)
    for route in ROUTES:
        found = router.find(route.method, route.path)
        assert found is not None
        assert type(found[0]) is Endpoint
        assert found[0].handler is found[0].route.handler
