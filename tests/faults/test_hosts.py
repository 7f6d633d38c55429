"""Servers on several hosts (network namespaces) with one PostgreSQL, which is on a host of its own."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.faults.load import API, GONE, Once, Writer
from tests.faults.stored import check_acknowledged
from tests.fix_hosts import NETWORK, Host, host
from tests.fix_postgres import PostgresServer, fresh_database
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server

HOSTS = 2


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    with ExitStack() as stack:
        yield [stack.enter_context(host(number)) for number in range(HOSTS)]


@pytest.fixture
def uri(hosts: list[Host]) -> Iterator[str]:
    """A database of a PostgreSQL that the hosts reach over their links."""
    root = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    server = PostgresServer(root, network=NETWORK)
    try:
        with fresh_database(server.uri) as made:
            yield made
    finally:
        server.stop()
        shutil.rmtree(root)


@pytest.fixture
def servers(hosts: list[Host], uri: str, tmp_path: Path) -> Iterator[list[Server]]:
    """A server on each host, in a directory of its own."""
    with ExitStack() as stack:
        found = []
        for one in hosts:
            directory = tmp_path / one.name
            directory.mkdir()
            found.append(stack.enter_context(one.headrace(uri, directory, "--no-bridge")))
        yield found


def test_servers_on_two_hosts_write_to_one_database(uri: str, servers: list[Server]) -> None:
    """To the same run at the same time; each shows what was acknowledged by the other."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Once(server.url)) for server in servers]
        run_id = wires[0].new_run()
        writers = [Writer(n, server.url, run_id) for n, server in enumerate(servers)]
        for writer in writers:
            writer.start()
        for number in range(20):
            made = wires[number % HOSTS].new_run(name=f"seen-{number}")
            for wire in wires:
                assert wire.ask("GET", f"{API}runs/get?run_id={made}").status == 200
        for writer in writers:
            writer.stop()
            assert set(writer.answers) == {"200"}
    check_acknowledged(uri, run_id, writers)


def test_a_host_without_network_disturbs_no_other(hosts: list[Host], servers: list[Server]) -> None:
    """And its server continues when the network is back."""
    with Once(servers[0].url) as cut, Once(servers[1].url) as other:
        run_id = cut.new_run()
        hosts[0].unplug()
        for number in range(20):
            batch = {"run_id": run_id, "params": [{"key": f"p{number}", "value": "v"}]}
            assert other.post("runs/log-batch", batch).status == 200
        hosts[0].plug()

        def continues() -> bool:
            with Once(servers[0].url) as again:
                return again.ask("GET", f"{API}runs/get?run_id={run_id}").status == 200

        eventually(continues, what="the server on the host answers again", ignored=GONE)
        with Once(servers[0].url) as again:
            again.new_run()
