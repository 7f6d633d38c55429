"""The listening socket: taken before anything else, with a clear word when it cannot be had."""

from __future__ import annotations

import errno
import socket
from typing import Final

BACKLOG: Final = 2048  # connections that wait while the server starts or is busy
REASONS: Final = {
    errno.EADDRINUSE: "the port is taken: another server runs there. Stop it, or choose "
    "another: --port {other}.",
    errno.EACCES: "ports below 1024 need a privilege. Choose another: --port {other}.",
    errno.EADDRNOTAVAIL: "this machine has no such address. --host 127.0.0.1 is this machine only, "
    "--host 0.0.0.0 all of its addresses.",
}


class CannotStart(Exception):
    """The server cannot start. The text is for the person who started it."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on TCP `host`:`port` (0: a free port). Raises CannotStart."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart must not wait for the last connections of the old process to time out.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise CannotStart(f"Cannot listen on {host}:{port}: {_reason(exc, port)}") from exc
    sock.setblocking(False)
    return sock


def _reason(error: OSError, port: int) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host name is unknown ({error.strerror})."
    known = REASONS.get(error.errno or 0)
    return known.format(other=port + 1 if port >= 1024 else 5000) if known else f"{error.strerror}."


def url(sock: socket.socket, host: str, prefix: str | None) -> str:
    """Where a person on this machine finds the server."""
    port = sock.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}{prefix or ''}"
