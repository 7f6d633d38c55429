"""A minimal TCP balancer in front of several servers; it skips a server that refuses a connection."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHUNK = 65536


class Balancer:
    """Listens on a loopback port; each connection goes to the next of `ports` that accepts it."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._turns = itertools.cycle(range(len(ports)))
        self._ports = list(ports)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread(self._accept)

    @staticmethod
    def _thread(target: Callable[..., None], *args: object) -> None:
        threading.Thread(target=target, args=args, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._thread(self._join, near)

    def _join(self, near: socket.socket) -> None:
        first = next(self._turns)
        for port in self._ports[first:] + self._ports[:first]:
            with contextlib.suppress(OSError):
                far = socket.create_connection(("127.0.0.1", port), timeout=10)
                far.settimeout(None)
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._thread(self._pump, near, far)
                self._pump(far, near)
                near.close()
                far.close()
                return
        near.close()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK):
                sink.sendall(chunk)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
