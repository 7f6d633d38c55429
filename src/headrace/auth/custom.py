"""A custom `authorization_function` of MLflow's configuration, called in a thread with a Flask request.

It gets the head of the request, without the body, and returns an Authorization, whose user name
must be in `users`, or a Response, which is the answer. Stock MLflow calls it up to six times for a
request; headrace calls it once, also for requests that MLflow answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import sys
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from headrace.auth.authority import Answered, Caller
from headrace.contract.errors import ApiError, ErrorCode, not_found, unavailable
from headrace.extras import own_install_command
from headrace.settings.kinds import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.auth.authority import Account, Head

THREADS: Final = 4
MAX_CALLS: Final = 100  # running and waiting ones
TIMEOUT_S: Final = 30.0  # for a request; the thread of a function that hangs is lost
BUSY: Final = "The authorization_function is busy. Please try again."
# Headers that the server sends itself.
NOT_PASSED_ON: Final = frozenset({"connection", "content-length", "date", "transfer-encoding"})


class _Raised(NamedTuple):
    """An exception of the function. A future accepts no StopIteration."""

    error: BaseException


class _Call(NamedTuple):
    """A call of the function for one request."""

    environ: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Result]


Result = str | Exception | _Raised  # the user's name, or what to raise


class CustomLogin:
    """Asks the function who sends a request."""

    def __init__(self, function: str, secret_key: str, database_uri: str) -> None:
        """`function` is `module:function`; `start` imports it."""
        self._function = function
        self._secret_key = secret_key
        self._database_uri = database_uri
        self._calls = 0
        self._waiting: SimpleQueue[_Call | None] = SimpleQueue()
        self._call: Callable[[], Any]
        self._app: Any

    def start(self) -> None:
        """Import the function, and start the threads. Raises SettingError."""
        try:
            import flask
        except ImportError:
            raise SettingError(
                f"authorization_function {self._function} needs MLflow: "
                f"{own_install_command('mlflow')}"
            ) from None
        self._call = _imported(self._function)
        _open_store(self._database_uri)
        self._app = flask.Flask("headrace")
        self._app.secret_key = str.__str__(self._secret_key)
        for _ in range(THREADS):
            # Daemons, because Python joins others at its exit, and the function may hang.
            Thread(target=self._work, name="authorization", daemon=True).start()

    async def identify(self, head: Head) -> Caller:
        """See `login.Method`. Raises Answered for a Response."""
        if self._calls >= MAX_CALLS:
            raise unavailable(BUSY)
        self._calls += 1
        loop = asyncio.get_running_loop()
        call = _Call(_environ(head), loop, loop.create_future())
        self._waiting.put(call)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                # A request that is gone does not end the call, which counts until then.
                found = await asyncio.shield(call.result)
        except TimeoutError:
            raise unavailable(BUSY) from None
        if isinstance(found, _Raised):
            raise _api_error(found.error) or found.error
        if isinstance(found, Exception):
            raise found
        return CustomCaller(found)

    def close(self) -> None:
        """End the threads."""
        for _ in range(THREADS):
            self._waiting.put(None)

    def _work(self) -> None:
        while (call := self._waiting.get()) is not None:
            found = self._ask(call.environ)
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped
                call.loop.call_soon_threadsafe(self._end, call, found)

    def _end(self, call: _Call, found: Result) -> None:
        self._calls -= 1
        call.result.set_result(found)

    def _ask(self, environ: dict[str, Any]) -> Result:
        """The user's name, or what to raise."""
        from flask import Response
        from werkzeug.datastructures import Authorization

        try:
            with self._app.request_context(environ):
                result = self._call()
                if isinstance(result, Authorization):
                    return str(result.username)
                if isinstance(result, Response):
                    return _answered(result)
        except BaseException as error:  # noqa: BLE001 even SystemExit must not end the thread
            return _Raised(error)
        return ApiError(
            ErrorCode.INTERNAL_ERROR,
            f"Unsupported result type from {self._function}: '{type(result).__name__}'",
        )


class CustomCaller(Caller):
    """The sender of a request whom the function names."""

    __slots__ = ()

    async def confirm(self, account: Account | None) -> None:
        """As in MLflow, a name that is not in `users` is 404."""
        if account is None:
            raise not_found(f"User with username={self.name} not found")


def _imported(function: str) -> Callable[[], Any]:
    module, _, name = function.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as for `mlflow server`, a module of the working directory will do
    try:
        found: Callable[[], Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingError(
            f"authorization_function {function} cannot be imported: {error}."
        ) from error
    return found


def _open_store(database_uri: str) -> None:
    """Open the store of users that a function may import from MLflow, which opens it at its start."""
    auth = sys.modules.get("mlflow.server.auth")
    if auth is not None:
        from headrace.bridge.stock import for_sqlalchemy

        auth.store.init_db(for_sqlalchemy(database_uri))


def _environ(head: Head) -> dict[str, Any]:
    """The head as a WSGI environment (PEP 3333)."""
    path, _, query = head.target.partition("?")
    netloc = head.headers.get("host", "localhost")
    try:
        parts = urlsplit(f"//{netloc}")
        host, port = parts.hostname or "localhost", parts.port
    except ValueError:
        host, port = "localhost", None
    environ: dict[str, Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": head.target,
        "RAW_URI": head.target,
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or (443 if head.scheme == "https" else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": head.client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": head.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in head.headers.items():
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key not in ("CONTENT_LENGTH", "TRANSFER_ENCODING") and "_" not in name:
            environ[f"HTTP_{key}"] = value
    return environ


def _answered(response: Any) -> Answered:
    headers = [
        (name.lower(), value)
        for name, value in response.headers.items()
        if name.lower() not in NOT_PASSED_ON
    ]
    return Answered(response.status_code, headers, response.get_data())


def _api_error(error: BaseException) -> ApiError | None:
    """An MlflowException as our error; its module may not be installed."""
    if not any(cls.__name__ == "MlflowException" for cls in type(error).__mro__):
        return None
    code = getattr(error, "error_code", "")
    known = ErrorCode(code) if code in ErrorCode.__members__ else ErrorCode.INTERNAL_ERROR
    return ApiError(known, str(getattr(error, "message", "")))
