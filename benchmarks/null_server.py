"""The null server: built from null_server.c, or this module if there is no C compiler.

`python -m benchmarks.null_server PORT DIR` starts the slower replacement; the results name the one
that was used.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


def _compiler() -> str | None:
    if sys.platform != "linux":  # epoll
        return None
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def language() -> str:
    """Return the language of the null server on this machine."""
    return "C" if _compiler() else "Python"


def command(work: Path, answers: Path, port: int) -> list[str]:
    """Return the command that starts the null server on `port`, compiled if possible."""
    compiler = _compiler()
    if compiler is None:
        return [sys.executable, "-m", "benchmarks.null_server", str(port), str(answers)]
    version = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    binary = work / f"null_server-{version}"
    if not binary.exists():
        subprocess.run([compiler, "-O2", "-o", os.fspath(binary), os.fspath(SOURCE)], check=True)
    return [os.fspath(binary), str(port), os.fspath(answers)]


def _read_answers(folder: Path) -> dict[bytes, bytes]:
    def whole(body: bytes) -> bytes:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        return head % len(body) + body

    found = {path.name.encode(): whole(path.read_bytes()) for path in folder.iterdir()}
    return {b"": whole(b"{}"), **found}


class _NullProtocol(asyncio.Protocol):
    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self.answers = answers
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            _, found, length = head.partition(b"content-length:")
            size = end + 4 + (int(length.split(b"\r\n", 1)[0]) if found else 0)
            if len(self.buffer) < size:
                return
            target = self.buffer.split(b" ", 2)[1].partition(b"?")[0]
            name = target.partition(b"/mlflow/")[2].replace(b"/", b"_")
            self.buffer = self.buffer[size:]
            answer = self.answers.get(name, self.answers[b""])
            self.transport.write(answer)  # type: ignore[attr-defined]


async def _serve(port: int, folder: Path) -> None:
    answers = _read_answers(folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _NullProtocol(answers), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
