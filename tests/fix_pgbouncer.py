"""PgBouncer, as Debian ships it, in front of the tests' PostgreSQL: `apt-get install pgbouncer`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest
from tests.fix_server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
START_S = 20
needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="no pgbouncer here: apt-get install pgbouncer"
)


@contextmanager
def pgbouncer(uri: str, pool_mode: str, pool_size: int = 20) -> Iterator[str]:
    """Run PgBouncer in front of the server of `uri`; the URI of the database through PgBouncer.

    It has Debian's defaults, except for addresses, authentication and the pool.
    """
    assert PROGRAM is not None, "marked needs_pgbouncer"
    parts = urlsplit(uri)
    port = free_port()
    server = f"host={parts.hostname} port={parts.port} user={parts.username}"
    if parts.password:
        server += f" password={parts.password}"
    # Not below pytest's directory, which only its owner may enter: PgBouncer runs as another user when started by root.
    directory = Path(tempfile.mkdtemp(prefix="headrace-pgbouncer-"))
    directory.chmod(0o755)
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = {server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n"
        f"default_pool_size = {pool_size}\n"
    )
    argv = [PROGRAM, str(configuration)]
    if os.geteuid() == 0:  # PgBouncer refuses to run as root
        argv[1:1] = ["-u", "nobody"]
    with (directory / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                said = (directory / "pgbouncer.log").read_text()
                assert process.poll() is None and time.monotonic() < deadline, said
                time.sleep(0.02)
        yield urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory)
