"""Listening sockets and their connections."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from time import monotonic, time
from typing import TYPE_CHECKING, Final

from headrace.http.connection import Connection
from headrace.http.limits import Limits

if TYPE_CHECKING:
    import socket

    from headrace.http.app import App

SWEEP_S: Final = 1.0


class Server:
    """Serves an `App` on listening sockets, until `drain`."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        self.app = app
        self.limits = limits or Limits()
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.in_flight = 0
        self.gathered = 0  # of these, requests with their whole body in memory
        self.draining = False
        self.date_line = b""
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def listen(self, sock: socket.socket) -> None:
        """Begin to accept connections on a bound socket."""
        self._tick()
        self._servers.append(
            await self.loop.create_server(lambda: Connection(self), sock=sock, backlog=2048)
        )
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())

    def _tick(self) -> None:
        self.date_line = f"date: {formatdate(time(), usegmt=True)}\r\n".encode()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._tick()
            now = monotonic()
            for connection in [c for c in self.connections if c.deadline < now]:
                connection.expire()

    async def drain(self, limit_s: float) -> bool:
        """Stop accepting and finish the requests in flight within `limit_s`; returns whether all finished.

        A request is finished when the client has received its answer.
        """
        self.draining = True
        for server in self._servers:
            server.close()
        until = monotonic() + limit_s
        while True:
            for connection in list(self.connections):
                connection.end_if_idle()
            if not self.connections or monotonic() > until:
                break
            await asyncio.sleep(0.02)
        if self._sweeper is not None:
            self._sweeper.cancel()
        return not self.in_flight
