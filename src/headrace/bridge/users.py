"""Runs inside the MLflow process of a server with users: admits the requests that headrace has signed.

MLflow runs its basic-auth application on the same auth database and decides by its own rules what a
user may do. It checks no password: headrace has done so, and signs each request (signature.py).

The bridge imports this module for its constants, so MLflow is imported inside functions.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import json
import os
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from headrace.bridge import signature
from headrace.bridge.experiment_ids import misspelled
from headrace.bridge.gate import (
    HEADER,
    JOB_TOKEN_VARIABLE,
    REFUSAL,
    SECRET_VARIABLE,
    USERS_VARIABLE,
    AuthDatabase,
    answer,
    tell_of_jobs,
)
from headrace.bridge.routes import JOBS_SEARCH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GATEWAY: Final = "/gateway/"
TICKET_VALID_S: Final = 600.0
CREDENTIALS: Final = frozenset({b"authorization", b"cookie", b"x-mlflow-authorization"})
_caller: ContextVar[str | None] = ContextVar("caller", default=None)


class UsersGate:
    """Admits requests that headrace signed, and calls of MLflow's jobs to the AI gateway."""

    def __init__(self, app: Any, secret: str, job_token: str = "", prefix: str = "") -> None:
        self._app = app
        self._secret = secret
        self._job_token = job_token
        self._prefix = prefix
        self._verifier = signature.Verifier(secret)

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif self._is_probe(scope):
            await self._app(scope, receive, send)
        elif self._asks_for_jobs(scope):
            await tell_of_jobs(send)
        elif (user := self._user(scope)) is not None:
            token = _caller.set(user)
            try:
                await self._app(self._without_credentials(scope, user), receive, send)
            finally:
                _caller.reset(token)
        else:
            await answer(send, 403, b"text/plain", REFUSAL)

    def _is_probe(self, scope: dict[str, Any]) -> bool:
        """Whether headrace asks whether MLflow has started."""
        return self._has_secret(scope) and scope["path"] == f"{self._prefix}/health"

    def _asks_for_jobs(self, scope: dict[str, Any]) -> bool:
        """Whether the watchdog asks for jobs; it is no user, so MLflow's rules would refuse it."""
        return self._has_secret(scope) and scope["path"] == self._prefix + JOBS_SEARCH

    def _has_secret(self, scope: dict[str, Any]) -> bool:
        return hmac.compare_digest(_header(scope, HEADER), self._secret.encode())

    def _user(self, scope: dict[str, Any]) -> str | None:
        value = _header(scope, HEADER).decode("latin-1")
        if value:
            target = scope["raw_path"] + b"?" + scope["query_string"]
            return self._verifier.user_of(value, scope["method"], target.decode("latin-1"))
        if scope["path"].startswith(self._prefix + GATEWAY):
            return self._user_of_job(_header(scope, "authorization"))
        return None

    def _user_of_job(self, authorization: bytes) -> str | None:
        """The user of a request that MLflow sends to its own gateway, for a job or a guardrail."""
        scheme, _, encoded = authorization.partition(b" ")
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if scheme.lower() != b"basic" or not user:
            return None
        token = self._job_token
        if token and hmac.compare_digest(password.encode(), token.encode()):
            return user
        return user if signature.is_ticket(self._secret, password, user, GATEWAY) else None

    def _without_credentials(self, scope: dict[str, Any], user: str) -> dict[str, Any]:
        """The request without headers that the AI gateway must not pass on to a provider.

        On the gateway a guardrail calls the gateway again with the `authorization` of the request,
        so it gets a ticket that is valid nowhere else.
        """
        headers = [(n, v) for n, v in scope["headers"] if n != HEADER.encode()]
        sent = {name for name, _ in headers}
        if scope["path"].startswith(self._prefix + GATEWAY):
            if b"x-mlflow-authorization" in sent:  # `authorization` is then a key of the provider
                headers = [(n, v) for n, v in headers if n not in CREDENTIALS - {b"authorization"}]
            else:
                headers = [(n, v) for n, v in headers if n not in CREDENTIALS]
                pair = f"{user}:{signature.ticket(self._secret, user, GATEWAY, TICKET_VALID_S)}"
                basic = b"Basic " + base64.b64encode(pair.encode())
                headers.append((b"authorization", basic))
        else:
            headers = [(n, v) for n, v in headers if n not in CREDENTIALS]
        return {**scope, "headers": headers}


def authenticate() -> Any:
    """The `authorization_function` of MLflow: the user whom the gate has admitted.

    MLflow's rules would judge another experiment than the request names if its id is misspelled, so
    the answer is then 403, except for admins.
    """
    from flask import g
    from mlflow.server import auth
    from werkzeug.datastructures import Authorization

    user = _caller.get()
    if user is None:
        return auth.make_basic_auth_response()
    if "headrace_spelling_checked" not in g:  # MLflow calls this function several times a request
        if _is_misspelled() and not auth.store.get_user(user).is_admin:
            return auth.make_forbidden_response()
        g.headrace_spelling_checked = True
    return Authorization("basic", {"username": user, "password": ""})


def _is_misspelled() -> bool:
    """Whether an experiment id in the request is misspelled."""
    from flask import request

    # Forced, because MLflow's handlers accept every type that begins with application/json.
    body = request.get_json(force=True, silent=True) if "json" in request.mimetype else None
    if isinstance(body, str):  # MLflow decodes a text twice, for old clients
        with contextlib.suppress(ValueError):
            body = json.loads(body)
    graphql = request.path.endswith("/graphql")
    return misspelled(request.args.items(multi=True), body, graphql=graphql)


def application() -> UsersGate:
    """MLflow's basic-auth application behind the gate, configured by the environment."""
    from mlflow.server import auth

    database = AuthDatabase(*json.loads(os.environ[USERS_VARIABLE]))
    function = f"{__name__}:{authenticate.__name__}"
    # MLflow reads its configuration file once, when the module is imported.
    auth.auth_config = auth.auth_config._replace(
        **database._asdict(), authorization_function=function
    )
    return UsersGate(
        auth.create_app(),
        os.environ[SECRET_VARIABLE],
        os.environ.get(JOB_TOKEN_VARIABLE, ""),
        os.environ.get("_MLFLOW_STATIC_PREFIX", ""),
    )


def _header(scope: dict[str, Any], name: str) -> bytes:
    found: bytes = dict(scope["headers"]).get(name.encode(), b"")
    return found
