"""Many concurrent keep-alive clients in one thread that send requests in a loop, and their answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.faults.load import API

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_WITHIN_S = 60
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Seen:
    """Answers by status, and how long each took, in seconds."""

    times: dict[int, list[float]] = field(default_factory=dict)
    broken: Counter[str] = field(default_factory=Counter)

    def note(self, status: int, elapsed_s: float) -> None:
        """Count an answer."""
        self.times.setdefault(status, []).append(elapsed_s)

    def count(self, status: int) -> int:
        """How many answers had that status."""
        return len(self.times.get(status, ()))

    def quantile(self, status: int, share: float) -> float:
        """The time that this share of the answers took at most, in seconds."""
        times = sorted(self.times[status])
        return times[min(len(times) - 1, int(share * len(times)))]


def post(name: str, body: dict[str, Any]) -> bytes:
    """The bytes of a POST to one of the tracking endpoints."""
    text = json.dumps(body).encode()
    head = (
        f"POST {API}{name} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


def get(target: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of the next answer; its body is read and discarded."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    await reader.readexactly(int(headers.get("content-length", 0)))
    return int(first.split(" ")[1]), headers


async def client(
    number: int,
    streams: Streams,
    make: Callable[[int, int], bytes],
    seen: Seen,
    until: float,
    pause_s: Callable[[dict[str, str]], float],
) -> None:
    """Read the answer to the first request, which has been sent; send others until then."""
    reader, writer = streams
    turn, started = 0, time.perf_counter()
    try:
        while True:
            status, headers = await asyncio.wait_for(answer(reader), ANSWER_WITHIN_S)
            seen.note(status, time.perf_counter() - started)
            if status == 429:
                await asyncio.sleep(pause_s(headers))
            if time.monotonic() >= until:
                break
            turn, started = turn + 1, time.perf_counter()
            writer.write(make(number, turn))
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    except (OSError, EOFError, TimeoutError) as error:
        seen.broken[type(error).__name__] += 1


def crowd(
    url: str,
    count: int,
    seconds: float,
    make: Callable[[int, int], bytes],
    pause_s: Callable[[dict[str, str]], float] = lambda headers: float(headers["retry-after"]),
    hold: AbstractContextManager[None] | None = None,
) -> Seen:
    """The answers to `count` clients that send `make(client, turn)` in a loop for `seconds` seconds.

    After a 429 a client waits `pause_s(headers)` seconds. All clients are connected before the first request; the
    first requests of all of them are sent inside the block `hold`.
    """
    seen = Seen()
    parts = urlsplit(url)

    async def connect() -> Streams | None:
        try:
            return await asyncio.open_connection(parts.hostname, parts.port)
        except OSError as error:
            seen.broken[type(error).__name__] += 1
            return None

    async def all_of_them() -> None:
        made = await asyncio.gather(*(connect() for _ in range(count)))
        connected = [(n, streams) for n, streams in enumerate(made) if streams is not None]
        with hold or nullcontext():
            for n, (_, writer) in connected:
                writer.write(make(n, 0))
        until = time.monotonic() + seconds
        await asyncio.gather(
            *(client(n, streams, make, seen, until, pause_s) for n, streams in connected)
        )

    asyncio.run(all_of_them())
    return seen
