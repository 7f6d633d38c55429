"""The calls of ours between a client's bytes and the first SQL statement, taken from the real stack.

A request is given to a connection of a real application. Where work is handed to a task or to a thread, the stack of
the hand-over goes before the stack of the work.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.unit.http.transport import Transport, post

import headrace
from headrace.http import output
from headrace.http.app import create_app
from headrace.http.connection import Connection
from headrace.http.server import Server
from headrace.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

    import pytest

SOURCE = f"{Path(headrace.__file__).parent}/"
STATEMENTS = ("fetch", "fetchrow", "execute", "executemany", "copy_new")
Calls = list[str]  # each "file: function"


def calls_of(frame: FrameType | None) -> Calls:
    """The calls of ours on a stack, the outermost first."""
    found: Calls = []
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(SOURCE):
            found.append(f"{code.co_filename.removeprefix(SOURCE)}: {code.co_qualname}")
        frame = frame.f_back
    return found[::-1]


class Trace:
    """A profile function that notes hand-overs, from `begin` to the first statement of a transaction."""

    def __init__(self) -> None:
        self.calls: Calls = []
        self._is_on = False
        self._tasks: dict[str, Calls] = {}  # by the function that the task runs
        self._to_thread: Calls = []

    def begin(self) -> None:
        """Trace the next request."""
        self.calls, self._tasks, self._to_thread, self._is_on = [], {}, [], True

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event != "call" or not self._is_on:
            return
        code = frame.f_code
        if code.co_name == "create_task" and "coro" in frame.f_locals:
            coroutine = getattr(frame.f_locals["coro"], "cr_code", None)
            if coroutine is not None:
                self._tasks[coroutine.co_qualname] = calls_of(frame)
        elif code.co_qualname == "Worker.call":
            self._to_thread = calls_of(frame)
        elif code.co_qualname.endswith(tuple(f"Tx.{name}" for name in STATEMENTS)):
            self.calls, self._is_on = self._from_the_socket(calls_of(frame.f_back)), False

    def _from_the_socket(self, calls: Calls) -> Calls:
        root = calls[0].partition(": ")[2]
        if root.startswith("Worker."):
            return self._from_the_socket(self._to_thread) + calls
        return self._from_the_socket(self._tasks[root]) + calls if root in self._tasks else calls


class Traced:
    """An application on a database, asked through a connection without a socket."""

    def __init__(self, server: Server, trace: Trace) -> None:
        self._server = server
        self._trace = trace

    async def ask(self, path: str, **fields: Any) -> Any:
        """The JSON of an answer."""
        transport = Transport()
        connection = Connection(self._server)
        connection.connection_made(transport)
        body = json.dumps(fields).encode()
        target = f"/api/2.0/mlflow/{path}"
        host, kind = "X-Client: tests", "Content-Type: application/json"
        request = post(target, body, host, kind).replace(b"Host: a\r\n", b"Host: localhost\r\n")
        connection.data_received(request)
        async with asyncio.timeout(20):
            while not transport.written:
                await asyncio.sleep(0.002)
        head, _, answer = transport.written.partition(b"\r\n\r\n")
        assert b" 200 " in head, transport.written
        return json.loads(answer)

    async def calls(self, path: str, **fields: Any) -> Calls:
        """The calls from the socket to the first statement."""
        self._trace.begin()
        await self.ask(path, **fields)
        return self._trace.calls


async def traced(uri: str, use: Callable[[Traced], Awaitable[None]]) -> None:
    """Run `use` on an application on the database."""
    trace = Trace()
    threading.setprofile(trace)  # of the threads that begin from here on
    sys.setprofile(trace)
    app = create_app(load({"backend_store_uri": uri}, {}))
    await app.start()
    try:
        await use(Traced(Server(app), trace))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type] # documented, not in typeshed
        await app.stop()


async def flows(uri: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Calls, Calls]:
    """The calls of a log-batch of one point and of a search for runs."""
    monkeypatch.setattr(output, "unacknowledged_bytes", lambda transport: 0)
    found: list[Calls] = []

    async def both(app: Traced) -> None:
        experiment = (await app.ask("experiments/create", name="flows"))["experiment_id"]
        run = (await app.ask("runs/create", experiment_id=experiment))["run"]["info"]["run_id"]
        point = {"key": "loss", "value": 1.0, "timestamp": 1, "step": 0}
        found.append(await app.calls("runs/log-batch", run_id=run, metrics=[point]))
        found.append(await app.calls("runs/search", experiment_ids=[experiment]))

    await traced(uri, both)
    log_batch, search = found
    return log_batch, search
