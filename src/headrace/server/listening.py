"""The listening socket, and errors with advice if it cannot be opened."""

from __future__ import annotations

import errno
import socket
from typing import Final

BACKLOG: Final = 2048  # connections that wait while the server starts or is busy
REASONS: Final = {
    errno.EADDRINUSE: "another process uses the port. Stop it, or choose another port: "
    "--port {other}.",
    errno.EACCES: "ports below 1024 need a privilege. Choose another port: --port {other}.",
    errno.EADDRNOTAVAIL: "this machine does not have the address. Use --host 127.0.0.1 for local "
    "access only, or --host 0.0.0.0 for all addresses.",
}


class CannotStart(Exception):
    """The server cannot start. The message is for the user."""


def listen(host: str, port: int) -> socket.socket:
    """Listen on TCP `host`:`port`; port 0 chooses a free one. Raises CannotStart."""
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
    """Return the URL of the server for users on this machine."""
    port = sock.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}{prefix or ''}"
