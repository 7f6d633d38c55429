"""Compiles the route table and finds the endpoint of a method and path."""

from __future__ import annotations

import typing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.auth.rules import ADMIN, METRICS, OPEN, UNRULED, Needs, Undecoded
from headrace.contract.errors import ApiError
from headrace.contract.limits import MAX_ACCOUNT_BYTES
from headrace.contract.scalars import Loose, PathOnly
from headrace.contract.texts import refuse_unstorable
from headrace.contract.value_count import UNCOUNTED_BYTES, check_value_count
from headrace.http import codec, fastapi, loose
from headrace.http.messages import MAX_BODY_BYTES, TooLong
from headrace.http.workspaces import hide_foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from headrace.api.route import Route
    from headrace.auth.authority import Authority
    from headrace.auth.rules import Rule
    from headrace.http.messages import Request


class Endpoint:
    """A compiled row of the route table, with its decoder.

    `request_type` is None for a raw row. Without a `decoder` the body is not read in advance.
    """

    __slots__ = (
        "cell",
        "checks_type",
        "decoder",
        "fastapi",
        "handler",
        "max_bytes",
        "reads_query",
        "request_type",
        "route",
    )

    def __init__(self, route: Route) -> None:
        self.route = route
        self.cell = 0
        self.max_bytes = route.max_bytes
        self.handler: Callable[..., Any] = route.handler
        self.request_type: type[msgspec.Struct] | None = None
        self.decoder: codec.Decoder | codec.PartialDecoder | None = None
        self.fastapi: fastapi.Decoder | None = None
        self.reads_query = route.method == "GET" or route.reads_query
        # Stock does not check the Content-Type of PATCH and DELETE.
        self.checks_type = route.method in ("POST", "PUT") and not route.partial
        if route.raw:
            return
        self.request_type = cls = typing.get_type_hints(route.handler)["req"]
        if issubclass(cls, Loose):
            self.max_bytes = MAX_ACCOUNT_BYTES
        if issubclass(cls, PathOnly):
            return
        if route.of_fastapi:
            self.fastapi = fastapi.Decoder(cls)
        else:
            self.decoder = codec.PartialDecoder(cls) if route.partial else codec.Decoder(cls)

    async def read(self, request: Request) -> Any:
        """The argument of the handler.

        Raises ApiError, and NotNative for a request for stock MLflow.
        """
        decoder = self.decoder
        if decoder is None:
            cls = self.request_type
            if cls is None:
                return request
            if self.fastapi is not None:
                body = await request.body(self.max_bytes or MAX_BODY_BYTES)
                if len(body) > UNCOUNTED_BYTES:
                    await check_value_count(body)
                return self.fastapi.from_body(body, request.headers.get("content-type"))
            if not self.reads_query:
                # The body counts for nothing, but a request whose client leaves early must do nothing.
                await request.body(self.max_bytes or MAX_BODY_BYTES)
            return cls(**{name: request.path_args[name] for name in cls.__struct_fields__})
        if self.checks_type:
            codec.check_content_type(request.headers.get("content-type"))
        if self.reads_query and (request.query_string or self.route.reads_query):
            message = decoder.from_query(request.query_string)
        else:
            body = await request.body(self.max_bytes or MAX_BODY_BYTES) or b"{}"
            if len(body) > UNCOUNTED_BYTES:
                await check_value_count(body)
            message = decoder.from_body(body)
        if request.path_args:
            message = with_path_args(message, request.path_args)
        return message


class ScopedEndpoint(Endpoint):
    """An endpoint of a server with workspaces. The handler gets no id of another workspace."""

    __slots__ = ()

    async def read(self, request: Request) -> Any:
        """See `Endpoint.read`."""
        message = await super().read(request)
        await hide_foreign(message, request)
        return message


class CheckedEndpoint(ScopedEndpoint):
    """An endpoint of a server with users.

    Its rule is checked on the decoded request, before the handler runs.
    """

    __slots__ = ("_authority", "_loose_type")

    def __init__(self, route: Route, authority: Authority) -> None:
        super().__init__(route)
        self._authority = authority
        cls = self.request_type
        self._loose_type = cls if cls is not None and issubclass(cls, Loose) else None

    async def read(self, request: Request) -> Any:
        """As `Endpoint.read`. Also raises Unauthenticated and Denied."""
        rule = self.route.rule
        if request.method == "HEAD" and rule is not OPEN and rule is not METRICS:
            rule = UNRULED  # as in MLflow, whose rules name the method
        caller = request.caller = await self._authority.identify(rule, request)
        if rule is ADMIN or rule is UNRULED:  # before decoding, which may fail
            request.access = await self._authority.admit(rule, caller, {}, request.workspace)
        message: Any
        if self._loose_type is not None:
            message = await loose.read(self._loose_type, request)
        else:
            try:
                message = await super().read(request)
            except ApiError as error:
                if error.status == HTTPStatus.BAD_REQUEST and not isinstance(error, TooLong):
                    await self._judge_undecoded(rule, request)
                raise
        if request.access is not None:
            return message
        fields = message
        if message is request:
            fields = request.fields(self.route.header_fields)
        if request.ids is None:
            request.access = await self._authority.admit(rule, caller, fields, None)
            return message
        async with request.ids.judged(fields):
            request.access = await self._authority.admit(rule, caller, fields, request.workspace)
        return message

    async def _judge_undecoded(self, rule: Rule, request: Request) -> None:
        """Raise as `Authority.admit` if a request that cannot be decoded is not allowed either."""
        if self.request_type is None or not isinstance(rule, Needs) or request.caller is None:
            return
        fields: Mapping[str, Any] = request.fields()
        if not self.reads_query:
            body = await request.body()
            if len(body) > MAX_ACCOUNT_BYTES:
                return
            fields = loose.mapping(body) | request.path_args
        if request.ids is not None:
            fields = await request.ids.hidden_in(fields)
        await self._authority.admit(Undecoded(rule), request.caller, fields, request.workspace)


class Router:
    """Finds the endpoint of a method and path: fixed paths in a dict, others by their segments."""

    def __init__(
        self,
        routes: Iterable[Route],
        cells: Mapping[tuple[str, str], int],
        authority: Authority | None = None,
        *,
        has_workspaces: bool = False,
    ) -> None:
        """Without an `authority`, rules are not checked and cost nothing; nor are ids without workspaces."""
        plain = ScopedEndpoint if has_workspaces else Endpoint
        self._fixed: dict[tuple[str, str], Endpoint] = {}
        self._shaped: list[tuple[str, list[str], Endpoint]] = []
        for route in routes:
            endpoint = plain(route) if authority is None else CheckedEndpoint(route, authority)
            endpoint.cell = cells[route.method, route.path]
            for path in spellings(route.path):
                if "{" in path:
                    self._shaped.append((route.method, path.split("/"), endpoint))
                else:
                    self._fixed[route.method, path] = endpoint

    def find(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint and its path arguments, or None."""
        endpoint = self._fixed.get((method, path))
        if endpoint is not None:
            return endpoint, {}
        segments = path.split("/")
        for shaped_method, shape, candidate in self._shaped:
            if shaped_method == method:
                arguments = match_segments(shape, segments)
                if arguments is not None:
                    return candidate, arguments
        return None

    def methods(self, path: str) -> list[str]:
        """The methods that have a route for `path`."""
        known = {method for method, _ in self._fixed} | {method for method, _, _ in self._shaped}
        return sorted(method for method in known if self.find(method, path))


def spellings(path: str) -> list[str]:
    """The paths of a route: those under /api are also served under /ajax-api."""
    if path.startswith("/api/"):
        return [path, "/ajax-api/" + path.removeprefix("/api/")]
    return [path]


def match_segments(shape: list[str], segments: list[str]) -> dict[str, str] | None:
    """The arguments of a path that has the given shape, or None. `{name:path}` matches the rest."""
    arguments: dict[str, str] = {}
    for n, part in enumerate(shape):
        if part.endswith(":path}"):
            rest = "/".join(segments[n:])
            arguments[part[1:-6]] = rest
            return arguments if rest else None
        if n >= len(segments):
            return None
        if part.startswith("{"):
            if not segments[n]:
                return None
            arguments[part[1:-1]] = segments[n]
        elif part != segments[n]:
            return None
    return arguments if len(shape) == len(segments) else None


def with_path_args(message: Any, arguments: dict[str, str]) -> Any:
    """The message with the fields that the path names (`/logged-models/{model_id}`)."""
    known = {k: v for k, v in arguments.items() if k in message.__struct_fields__}
    for name, value in known.items():
        refuse_unstorable(value, name)
    return msgspec.structs.replace(message, **known) if known else message
