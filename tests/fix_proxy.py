"""A TCP proxy in front of a real server that cuts, stalls, resets or delays connections."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from tests.fix_server import headrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fix_server import Server

CHUNK = 65536
Pair: TypeAlias = tuple[socket.socket, socket.socket]


class Proxy:
    """Listens on a loopback port (`listen`; 0 for a free one) and passes bytes to and from `host:port`.

    `cut()` closes every connection and refuses new ones; `reset()` sends RST to all and continues; `stall()` keeps all
    connections open (and accepts new ones) while nothing passes; `restore()` ends either; `delay_s` holds every chunk
    back. Of a stalled connection the bytes come through after `restore()`, as after a network that was away.
    """

    def __init__(self, host: str, port: int, listen: int = 0) -> None:
        self._target = (host, port)
        self._pairs: set[Pair] = set()
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self.delay_s = 0.0
        self.lost_answers = 0
        self._bait: tuple[bytes, Callable[[], None]] | None = None
        self._traps: dict[Pair, Callable[[], None]] = {}
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", listen))
        self.port: int = self._listener.getsockname()[1]
        self._thread(self._accept, self._listener)

    @staticmethod
    def _thread(target: Callable[..., None], *args: object) -> None:
        threading.Thread(target=target, args=args, daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self._thread(self._join, near)

    def _join(self, near: socket.socket) -> None:
        self._flowing.wait()
        try:
            far = socket.create_connection(self._target, timeout=10)
        except OSError:
            near.close()
            return
        if self._listener.fileno() == -1:  # cut meanwhile
            near.close()
            far.close()
            return
        far.settimeout(None)
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (near, far)
        with self._lock:
            self._pairs.add(pair)
        self._thread(self._pump, near, far, pair, True)
        self._thread(self._pump, far, near, pair, False)

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        pair: Pair,
        forth: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK):
                if self.delay_s:
                    time.sleep(self.delay_s)
                self._flowing.wait()
                if forth:
                    self._set_trap(chunk, pair)
                elif pair in self._traps:
                    self.lost_answers += 1
                    self._traps.pop(pair)()
                    return
                passes = self._passes(chunk, pair, forth)
                sink.sendall(chunk[:passes])
                if passes is not None:
                    break
        self._flowing.wait()
        self._drop(pair)

    def _passes(self, chunk: bytes, pair: Pair, forth: bool) -> int | None:
        """The number of bytes of a chunk to pass on before the connection ends; None to pass all and continue."""
        return None

    def lose_answer_to(self, text: bytes, then: Callable[[], None]) -> None:
        """Pass on the next chunk that contains `text`, then drop the server's answer to it and call `then`."""
        self._bait = (text, then)

    def _set_trap(self, chunk: bytes, pair: Pair) -> None:
        with self._lock:
            if self._bait is not None and self._bait[0] in chunk:
                self._traps[pair] = self._bait[1]
                self._bait = None

    @property
    def listens(self) -> bool:
        """Whether it accepts new connections."""
        return self._listener.fileno() != -1

    def _drop(self, pair: Pair, *, reset: bool = False) -> None:
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.discard(pair)
        for one in pair:
            if reset:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                # Reading ends too, or the pump's recv would keep the connection open past close().
                one.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            one.close()

    def _drop_all(self, *, reset: bool = False) -> None:
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._drop(pair, reset=reset)

    def cut(self) -> None:
        """Close all connections and refuse new ones until `restore()`."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop_all()

    def reset(self) -> None:
        """Reset all connections; new ones are accepted."""
        self._drop_all(reset=True)

    def stall(self) -> None:
        """Hold all bytes back without breaking a connection."""
        self._flowing.clear()

    def restore(self) -> None:
        """Accept connections and pass bytes again."""
        if self._listener.fileno() == -1 and not self._closed:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._thread(self._accept, self._listener)
        self._flowing.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self.cut()
        self._flowing.set()


@dataclass(frozen=True, order=True)
class Stream:
    """One direction of one connection. Connections are numbered in the order of their first bytes."""

    connection: int
    forth: bool


@dataclass(frozen=True, order=True)
class Cut:
    """Where a connection ends: after this number of bytes in one direction."""

    stream: Stream
    after_bytes: int


class Cutter(Proxy):
    """A proxy that records all bytes and ends one connection at a given byte. New connections pass."""

    def __init__(self, host: str, port: int) -> None:
        self._cut: Cut | None = None
        self._order: list[Pair] = []
        self._chunks = 0
        self.carried: dict[Stream, bytes] = {}
        self.has_cut = False
        super().__init__(host, port)

    def arm(self, cut: Cut | None) -> None:
        """Start a new record; end the first connection that reaches `cut`."""
        with self._lock:
            self._cut, self._order, self.carried, self.has_cut = cut, [], {}, False

    def settle(self, quiet_s: float) -> None:
        """Return after `quiet_s` seconds without traffic, when background work has ended."""
        seen = -1
        while seen != self._chunks:
            seen = self._chunks
            time.sleep(quiet_s)

    def _passes(self, chunk: bytes, pair: Pair, forth: bool) -> int | None:
        with self._lock:
            self._chunks += 1
            if pair not in self._order:
                self._order.append(pair)
            stream = Stream(self._order.index(pair), forth)
            before = self.carried.get(stream, b"")
            self.carried[stream] = before + chunk
            cut = self._cut
            if cut is None or self.has_cut or cut.stream != stream:
                return None
            passes = cut.after_bytes - len(before)
            self.has_cut = passes < len(chunk)
            return passes if self.has_cut else None


@contextlib.contextmanager
def behind(proxy: Proxy, uri: str, directory: Path, **environment: str) -> Iterator[Server]:
    """A headrace server that reaches its database through that proxy."""
    netloc = f"{urlsplit(uri).username}@127.0.0.1:{proxy.port}"
    through = urlunsplit(urlsplit(uri)._replace(netloc=netloc))
    with headrace(through, directory, environment=environment) as server:
        yield server


def address_of(uri: str) -> tuple[str, int]:
    """Host and port of a database or a server."""
    parts = urlsplit(uri)
    assert parts.hostname and parts.port, f"need a host and a port: {uri}"
    return parts.hostname, parts.port


@contextlib.contextmanager
def behind_proxy(uri: str, directory: Path) -> Iterator[tuple[Proxy, Server]]:
    """A headrace server that reaches its database through a proxy."""
    with Proxy(*address_of(uri)) as proxy, behind(proxy, uri, directory) as server:
        yield proxy, server
