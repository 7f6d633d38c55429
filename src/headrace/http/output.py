"""Writes to one client, and tracks how much it has received. No other code writes to it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

from headrace.http.limits import LEAST_PROGRESS_BYTES

if TYPE_CHECKING:
    from headrace.http.limits import Budget

CONNECTION_LOST: Final = "the client went away"

if sys.platform == "linux":
    import fcntl
    import struct
    import termios

    def unacknowledged_bytes(transport: Any) -> int:
        """The written bytes that the kernel still holds, because the peer has not received them."""
        descriptor = transport.get_extra_info("socket").fileno()
        if descriptor < 0:  # closed
            return 0
        queued: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]
        return queued

else:

    def unacknowledged_bytes(transport: Any) -> int:
        """Unknown on this system; progress shows when the kernel accepts more of our buffer."""
        return 0


class Output:
    """Writes to a transport. `drained` is a future while the write buffer is full, else None."""

    __slots__ = ("_acknowledged", "_budget", "_held", "_sent", "_transport", "_written", "drained")

    def __init__(self, transport: Any, budget: Budget) -> None:
        self._transport = transport
        self._budget = budget
        self._held = 0  # bytes of answers in our buffer when writing paused
        self._written = 0  # bytes of the last write
        self._sent = 0
        self._acknowledged = (
            0  # of these, bytes that the client had received when `mark` was called
        )
        self.drained: asyncio.Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Send. Raises ConnectionResetError when the client is gone."""
        if self._transport.is_closing():
            raise ConnectionResetError(CONNECTION_LOST)
        self._written = len(data)
        self._sent += self._written
        self._transport.write(data)

    def pause(self) -> None:
        """Handle a full buffer: its bytes count as held until `resume`."""
        self.drained = asyncio.get_running_loop().create_future()
        # The buffer refers to what the kernel has not taken of the last bytes, and so keeps all of them.
        self._hold(max(self._transport.get_write_buffer_size(), self._written))
        self.mark()

    def resume(self) -> None:
        """Handle a buffer that the client has mostly received."""
        self._hold(0)
        if self.drained is not None and not self.drained.done():
            self.drained.set_result(None)
        self.drained = None

    def lose(self) -> None:
        """Handle the loss of the client."""
        self._hold(0)
        if self.drained is not None and not self.drained.done():
            self.drained.set_exception(ConnectionResetError(CONNECTION_LOST))
        self.drained = None

    def _hold(self, size: int) -> None:
        self._budget.held += size - self._held
        self._held = size

    def mark(self) -> None:
        """Note how much the client has received."""
        self._acknowledged = self._count_acknowledged()

    def has_advanced(self) -> bool:
        """Whether the client has received enough since `mark`. If so, sets a new mark.

        The kernel reports it: its buffer may be so large that a client needs minutes before we can
        write again.
        """
        acknowledged = self._count_acknowledged()
        if acknowledged - self._acknowledged < LEAST_PROGRESS_BYTES:
            return False
        self._acknowledged = acknowledged
        return True

    def _count_acknowledged(self) -> int:
        transport = self._transport
        return self._sent - int(transport.get_write_buffer_size()) - unacknowledged_bytes(transport)
