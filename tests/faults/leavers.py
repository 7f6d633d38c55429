"""Clients that disconnect while they send a body, before the answer, or while they read it."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from tests.faults.crowd import get, post
from tests.faults.load import API, Once, point

if TYPE_CHECKING:
    from collections.abc import Sequence

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
FILE_BYTES = 8 << 20
POINTS = 10_000
TAKEN_BYTES = 64 << 10  # of an answer, before the client disconnects
PATIENCE_S = 30
PAUSE_S = 0.02  # so that the other clients are served as well
AT_ONCE = 4
KINDS = (
    "in a body",
    "in an upload",
    "before the answer",
    "in a search",
    "in a page of runs",
    "in a download",
    "in a history",
)


class Leavers:
    """Clients of each kind in turn that connect and disconnect, in their own thread, until the end of the block.

    `left` counts the disconnects of each kind.
    """

    def __init__(self, url: str, run_ids: Sequence[str]) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._stop_now = threading.Event()
        self.left: Counter[str] = Counter()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)
        with Once(url) as wire:
            answer = wire.ask("PUT", f"{ARTIFACTS}large", b"x" * FILE_BYTES)
            assert answer.status == 200, str(answer)
            for first in range(0, POINTS, 1000):
                points = [point("long", n, n) for n in range(first, first + 1000)]
                wire.made("runs/log-batch", {"run_id": run_ids[0], "metrics": points})
        batch = post("runs/log-batch", {"run_id": run_ids[0], "metrics": [point("left", 1, 1)]})
        upload = f"PUT {ARTIFACTS}never HTTP/1.1\r\nhost: localhost\r\ncontent-length: {FILE_BYTES}\r\n\r\n"
        wanted = {"experiment_ids": ["0"], "max_results": 1000}
        history = f"{API}metrics/get-history?run_id={run_ids[0]}&metric_key=long"
        # The bytes to send, and the number of bytes of the answer to read.
        ways = (
            (batch[: len(batch) // 2], 0),
            (upload.encode() + b"x" * (FILE_BYTES // 8), 0),
            (batch, 0),
            (post("runs/search", wanted), 0),
            (post("runs/search", wanted), 1024),
            (get(f"{ARTIFACTS}large"), TAKEN_BYTES),
            (get(history), TAKEN_BYTES),
        )
        self._ways = dict(zip(KINDS, ways, strict=True))

    async def _work(self) -> None:
        dice = random.Random(0)
        turns = itertools.cycle(KINDS)

        async def one() -> None:
            while not self._stop_now.is_set() or len(self.left) < len(KINDS):
                kind = next(turns)
                await self._leave(*self._ways[kind], abruptly=dice.random() < 0.5)
                self.left[kind] += 1
                await asyncio.sleep(PAUSE_S)

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))

    async def leave(self, kind: str, times: int) -> None:
        """Let `times` clients of one kind connect and disconnect, several at a time."""

        async def one() -> None:
            for turn in range(times // AT_ONCE):
                await self._leave(*self._ways[kind], abruptly=turn % 2 == 0)

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))

    async def _leave(self, sent: bytes, taken_bytes: int, *, abruptly: bool) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            with suppress(ConnectionError):  # the server may refuse the request and close first
                # A short answer, such as a refusal, must end the connection, or the read below would hang.
                writer.write(sent.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
                await writer.drain()
                while taken_bytes > 0 and (
                    some := await asyncio.wait_for(reader.read(taken_bytes), PATIENCE_S)
                ):
                    taken_bytes -= len(some)
        finally:
            if abruptly:
                writer.transport.abort()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_now.set()
        self._thread.join(2 * PATIENCE_S)
        assert not self._thread.is_alive(), "a client could not leave"
        assert set(self.left) == set(KINDS), "the thread failed"
