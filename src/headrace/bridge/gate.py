"""Runs inside the MLflow process: admits only requests with the secret, and enforces the artifact roots.

Every user of the machine, and every web page that such a user opens, can connect to a loopback
port. MLflow relies on headrace for the checks of Host and Origin. On a server with users the gate is
`users.UsersGate` instead.

The bridge imports this module for its constants only, so MLflow is imported inside functions.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.bridge.routes import JOBS_SEARCH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from headrace.bridge.users import UsersGate

HEADER: Final = "x-headrace-bridge"
USER: Final = "headrace"  # for MLflow's job processes, whose clients support only user and password
SECRET_VARIABLE: Final = "HEADRACE_BRIDGE_SECRET"
USERS_VARIABLE: Final = "HEADRACE_BRIDGE_USERS"  # an AuthDatabase as JSON
# MLflow's jobs send this as the password of the user who started them, to its AI gateway only.
JOB_TOKEN_VARIABLE: Final = "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"
ROOTS_VARIABLE: Final = "HEADRACE_BRIDGE_ARTIFACT_ROOTS"  # a JSON list of directories
REFUSAL: Final = b"Only headrace may use this port."


class AuthDatabase(NamedTuple):
    """The facts about users that MLflow needs: fields of its own configuration file."""

    database_uri: str
    default_permission: str
    grant_default_workspace_access: bool = False


class Secret:
    """The secret, and the two headers that may contain it."""

    def __init__(self, secret: str) -> None:
        self._header = secret.encode()
        pair = base64.b64encode(f"{USER}:{secret}".encode())
        self._authorization = b"Basic " + pair

    def is_in(self, header: bytes, authorization: bytes) -> bool:
        """Whether one of these two headers contains the secret."""
        return hmac.compare_digest(header, self._header) or hmac.compare_digest(
            authorization, self._authorization
        )


class AsgiGate:
    """Admits requests to MLflow 3. `prefix` is its static prefix."""

    def __init__(self, app: Any, secret: str, prefix: str = "") -> None:
        self._app = app
        self._secret = Secret(secret)
        self._jobs_path = prefix + JOBS_SEARCH

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if self._secret.is_in(
            headers.get(HEADER.encode(), b""), headers.get(b"authorization", b"")
        ):
            # MLflow's AI gateway sends the headers of a request to the provider.
            rest = [(n, v) for n, v in scope["headers"] if n != HEADER.encode()]
            if scope["path"] == self._jobs_path:  # the watchdog; headrace serves it to clients
                await tell_of_jobs(send)
            else:
                await self._app({**scope, "headers": rest}, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer(send, 403, b"text/plain", REFUSAL)


class WsgiGate:
    """Admits requests to MLflow 2."""

    def __init__(self, app: Any, secret: str) -> None:
        self._app = app
        self._secret = Secret(secret)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """WSGI 1."""
        header = environ.pop("HTTP_" + HEADER.upper().replace("-", "_"), "")
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        if self._secret.is_in(header.encode("latin-1"), authorization.encode("latin-1")):
            answer: Iterable[bytes] = self._app(environ, start_response)
            return answer
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [REFUSAL]


def factory() -> AsgiGate | WsgiGate | UsersGate:
    """MLflow's application behind its gate, configured by the environment of the process."""
    secret = os.environ[SECRET_VARIABLE]
    restrict_to(json.loads(os.environ[ROOTS_VARIABLE]))
    if USERS_VARIABLE in os.environ:
        from headrace.bridge.users import application

        return application()
    if find_spec("mlflow.server.fastapi_app") is None:
        from mlflow.server import app as flask_app

        return WsgiGate(flask_app, secret)
    from mlflow.server.fastapi_app import app

    return AsgiGate(app, secret, os.environ.get("_MLFLOW_STATIC_PREFIX", ""))


async def tell_of_jobs(send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Answer the watchdog, which asks whether a job waits or runs, in any workspace."""
    left = await asyncio.to_thread(_jobs_are_left)
    await answer(send, 200, b"application/json", json.dumps({"jobs": [1] if left else []}).encode())


def _jobs_are_left() -> bool:
    from mlflow.entities._job_status import JobStatus
    from mlflow.server.handlers import _get_job_store
    from mlflow.store.tracking.dbmodels.models import SqlJob

    unfinished = [JobStatus.PENDING.to_int(), JobStatus.RUNNING.to_int()]
    store: Any = _get_job_store()
    with store.ManagedSessionMaker() as session:
        found = session.query(SqlJob.id).filter(SqlJob.status.in_(unfinished)).first()
        return found is not None


async def answer(
    send: Callable[[dict[str, Any]], Awaitable[None]], status: int, kind: bytes, body: bytes
) -> None:
    """Send a whole answer, the last one of its connection."""
    headers = [(b"content-type", kind), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def restrict_to(roots: list[str]) -> None:
    """Make MLflow's repository of local artifacts reject paths outside of these directories.

    MLflow's routes read artifacts of runs and traces at any location that clients choose.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    from headrace.storage.locations import elsewhere
    from headrace.storage.staging import inside

    opened = LocalArtifactRepository.__init__

    def open_inside(self: Any, artifact_uri: str, *args: Any, **kwargs: Any) -> None:
        opened(self, artifact_uri, *args, **kwargs)
        real = os.path.realpath(self.artifact_dir)
        if not any(inside(root, real) for root in roots):
            raise MlflowException.invalid_parameter_value(elsewhere(artifact_uri).message)

    LocalArtifactRepository.__init__ = open_inside  # type: ignore[method-assign]
