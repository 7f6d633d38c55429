"""PostgreSQL's host stops answering: no refusal, no reset, and no acknowledgement of sent data."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import uvloop

from headrace.db.postgres import pool

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's socket options")


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_kernel_is_told_to_notice_silence(
    loop: Callable[[], asyncio.AbstractEventLoop], postgres_uri: str
) -> None:
    """Unacknowledged data and unanswered keep-alive probes break a connection within half a minute."""

    async def options() -> dict[str, int]:
        connection: Any = await asyncpg.connect(postgres_uri)
        try:
            pool.notice_silence(connection)
            sock = connection._transport.get_extra_info("socket")
            names = ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
            found = {n: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, n)) for n in names}
            return found | {"on": sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)}
        finally:
            await connection.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        found = runner.run(options())
    assert found["on"] == 1
    assert found["TCP_USER_TIMEOUT"] == pool.SILENCE_MS
    probing_s = found["TCP_KEEPIDLE"] + found["TCP_KEEPINTVL"] * found["TCP_KEEPCNT"]
    assert probing_s <= 30
