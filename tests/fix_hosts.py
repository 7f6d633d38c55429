"""Hosts as network namespaces of Linux, each with an address and a link of its own. Needs root and iproute2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest
from tests.fix_server import Server, base_environment, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NETWORK = "198.18.0.0/15"  # reserved for tests of networks
PORT = 5000


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass(frozen=True)
class Host:
    """`gateway` is the address at which the host reaches the tests and their PostgreSQL."""

    name: str
    address: str
    gateway: str

    def unplug(self) -> None:
        """No packet passes any more, in either direction; no connection learns of it."""
        _ip("link", "set", self.name, "down")

    def plug(self) -> None:
        _ip("link", "set", self.name, "up")

    def database(self, uri: str) -> str:
        """The URI of a local PostgreSQL as the host sees it."""
        parts = urlsplit(uri)
        place = f"{parts.username}@{self.gateway}:{parts.port}"
        return urlunsplit(parts._replace(netloc=place))

    @contextmanager
    def headrace(self, uri: str, directory: Path, *options: str) -> Iterator[Server]:
        """A headrace server on this host."""
        argv = ["ip", "netns", "exec", self.name, sys.executable, "-m", "headrace.commands.cli"]
        argv += ["server", "--backend-store-uri", self.database(uri), *options]
        argv += ["--host", self.address, "--port", str(PORT), "--allowed-hosts", "*"]
        server = Server("headrace", argv, directory, base_environment(), PORT)
        server.url = f"http://{self.address}:{PORT}"
        with running(server):
            yield server


@contextmanager
def host(number: int) -> Iterator[Host]:
    """A host; numbers are those of one test. Skips the test where namespaces cannot be made."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the command ip (package iproute2)")
    # Of the 65,536 networks of 4 addresses, one per test process and number.
    block = (os.getpid() * 4 + number) % 32768 * 4
    first = f"198.{18 + block // 65536}.{block // 256 % 256}.{block % 256}"
    there, _, last = first.rpartition(".")
    gateway, address = (f"{there}.{int(last) + n}" for n in (1, 2))
    name = f"hr{os.getpid()}-{number}"  # of the namespace and of our end of the link
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("address", "add", f"{gateway}/30", "dev", name)
        _ip("link", "set", name, "up")
        _ip("-n", name, "address", "add", f"{address}/30", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", name, "link", "set", device, "up")
        yield Host(name, address, gateway)
    finally:
        # First the link: the kernel removes that of a deleted namespace only later.
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
        _ip("netns", "delete", name)
