"""PostgreSQL behind a network that cuts, stalls, resets and delays: 429 during the outage, service afterwards."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.faults.load import API, Once, Writer, eventually, point, start, summary
from tests.faults.stored import check_acknowledged, check_latest, rows
from tests.faults.training import training
from tests.fix_proxy import Proxy, behind_proxy
from tests.fix_server import Server, headrace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_postgres import PostgresServer

SOAK = [pytest.mark.soak, pytest.mark.timeout(600)]
SHORT_S = 4
OUTAGES = [
    ("cut", SHORT_S),
    ("stall", SHORT_S),
    *(pytest.param(fault, 30, marks=SOAK) for fault in ("cut", "stall", "flap")),
]
NOT_READY_WITHIN_S = 2.0
CLIENTS = 12
LONGEST_ANSWER_S = 15.0  # promised for any fault of the network; not a measure of speed
BACK_WITHIN_S = 5.0


def reads(server: Server, run_id: str) -> int:
    """The status of a read on a new connection; every refusal must have Retry-After."""
    started = time.monotonic()
    with Once(server.url) as wire:
        answer = wire.ask("GET", f"{API}runs/get?run_id={run_id}")
    assert answer.status in (200, 429), str(answer)
    assert answer.status == 200 or answer.headers["retry-after"].isdigit()
    assert time.monotonic() - started < LONGEST_ANSWER_S
    return answer.status


def is_ready(server: Server) -> bool:
    """Whether /readyz answers 200."""
    with Once(server.url) as wire:
        answer = wire.ask("GET", "/readyz")
    assert answer.status in (200, 503), str(answer)
    return answer.status == 200


def check_writers(writers: list[Writer], longest_answer_s: float = LONGEST_ANSWER_S) -> None:
    """Every answer was 200, or a refusal with Retry-After, and came in time."""
    for writer in writers:
        assert set(writer.answers) <= {"200", "429", "503"}, writer.answers
        assert all(answer.headers["retry-after"].isdigit() for answer in writer.refusals)
        assert all(answer.json()["error_code"] for answer in writer.refusals)
        assert writer.slowest_s < longest_answer_s
    assert any(writer.refusals for writer in writers), "nobody noticed"


@pytest.mark.parametrize(("fault", "outage_s"), OUTAGES)
def test_an_outage_is_429_and_ends_by_itself(
    fault: str,
    outage_s: float,
    tmp_path: Path,
    postgres_uri: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The database is away under load: 429 during the outage, service afterwards, and a training without errors."""
    patience = (
        1 if outage_s > SHORT_S else 3
    )  # the short outages run beside other tests on a busy machine
    with (
        behind_proxy(postgres_uri, tmp_path) as (proxy, server),
        training(server.url, postgres_uri, tmp_path) as trained,
    ):
        with Once(server.url) as wire:
            run_id = wire.new_run()
        trained.wait_until_it_logs()
        assert is_ready(server)
        writers = start(CLIENTS, server.url, run_id)
        eventually(lambda: all(len(w.batches) > 2 for w in writers), 30)
        with gone(proxy, fault):
            began = time.monotonic()
            eventually(lambda: not is_ready(server), patience * NOT_READY_WITHIN_S)
            noticed_s = time.monotonic() - began
            eventually(lambda: reads(server, run_id) == 429, LONGEST_ANSWER_S)
            until = time.monotonic() + outage_s
            while time.monotonic() < until:
                assert fault == "flap" or reads(server, run_id) == 429
                assert fault == "flap" or not is_ready(server)
                time.sleep(0.2)
            before = [len(writer.batches) for writer in writers]
        began = time.monotonic()
        eventually(lambda: reads(server, run_id) == 200 and is_ready(server), BACK_WITHIN_S)
        back_s = time.monotonic() - began
        eventually(
            lambda: all(len(w.batches) > n for w, n in zip(writers, before, strict=True)),
            BACK_WITHIN_S,
        )
        for writer in writers:
            writer.stop()
        # A new run whose COMMIT is in doubt is not refused: its answer waits for the database.
        check_writers(writers, LONGEST_ANSWER_S + outage_s)
        trained.finish(60 + 2 * outage_s)  # the client retries after Retry-After
        check_acknowledged(postgres_uri, run_id, writers)
    with capsys.disabled():
        print(  # noqa: T201 what the long run is for
            f"\n{fault} for {outage_s} s: not ready after {noticed_s:.1f} s, back after {back_s:.1f} s; "
            f"{summary(writers)}"
        )


@contextmanager
def gone(proxy: Proxy, fault: str) -> Iterator[None]:
    """Put the database away by that fault: `cut`, `stall`, or `flap`, which is each in turn for a second."""
    ended = threading.Event()

    def flap() -> None:
        while not ended.is_set():
            for change in (proxy.cut, proxy.restore, proxy.reset, proxy.stall, proxy.restore):
                change()
                ended.wait(1)

    flapping = threading.Thread(target=flap, daemon=True)
    if fault == "flap":
        flapping.start()
    else:
        getattr(proxy, fault)()
    try:
        yield
    finally:
        ended.set()
        if fault == "flap":
            flapping.join()
        proxy.restore()


def test_broken_connections_are_replaced_without_an_error(
    tmp_path: Path, postgres_uri: str
) -> None:
    """Idle connections that break cause no error: for reads, batches and new runs."""
    with behind_proxy(postgres_uri, tmp_path) as (proxy, server), Once(server.url) as wire:
        run_id = wire.new_run()
        for number in range(10):
            for breaks in (proxy.reset, lambda: end_backends(postgres_uri)):
                breaks()
                wire.made("runs/log-batch", {"run_id": run_id, "metrics": [point("a", 1, number)]})
                breaks()
                assert reads(server, run_id) == 200
                breaks()
                wire.new_run(name=f"again-{number}")
        assert rows(postgres_uri, "SELECT count(*) FROM runs") == [(21,)]
        assert rows(postgres_uri, "SELECT count(*) FROM metrics") == [(10,)]
        check_latest(postgres_uri)


def test_backends_that_are_terminated_under_load(tmp_path: Path, postgres_uri: str) -> None:
    """Every write acknowledged while connections broke is stored once."""
    with behind_proxy(postgres_uri, tmp_path) as (proxy, server):
        with Once(server.url) as wire:
            run_id = wire.new_run()
        writers = start(CLIENTS, server.url, run_id)
        for number in range(10):
            time.sleep(0.1)
            if number % 2:
                proxy.reset()
            else:
                end_backends(postgres_uri)
        for writer in writers:
            writer.stop()
        assert all(set(w.answers) <= {"200", "429", "503"} for w in writers)
        check_acknowledged(postgres_uri, run_id, writers)


def test_a_slow_network_is_no_outage(tmp_path: Path, postgres_uri: str) -> None:
    """Half a second each way: answers are slow but come."""
    with behind_proxy(postgres_uri, tmp_path) as (proxy, server), Once(server.url) as wire:
        run_id = wire.new_run()
        proxy.delay_s = 0.5
        wire.made("runs/log-batch", {"run_id": run_id, "metrics": [point("a", 1, 1)]})
        wire.made("runs/log-batch", {"run_id": run_id, "params": [{"key": "a", "value": "1"}]})
        assert reads(server, run_id) == 200


def test_a_slow_network_under_load(tmp_path: Path, postgres_uri: str) -> None:
    """A group takes many seconds then: requests that wait too long get 429, and a training loses nothing."""
    with (
        behind_proxy(postgres_uri, tmp_path) as (proxy, server),
        training(server.url, postgres_uri, tmp_path) as trained,
    ):
        with Once(server.url) as wire:
            run_id = wire.new_run()
        trained.wait_until_it_logs()
        writers = start(CLIENTS, server.url, run_id)
        eventually(lambda: all(w.batches for w in writers), 30)
        proxy.delay_s = 0.5
        before = sum(len(w.batches) for w in writers)
        eventually(lambda: sum(len(w.batches) for w in writers) > before, 60)
        assert reads(server, run_id) in (200, 429)
        proxy.delay_s = 0.0
        eventually(lambda: reads(server, run_id) == 200 and is_ready(server), BACK_WITHIN_S)
        for writer in writers:
            writer.stop()
        assert {status for w in writers for status in w.answers} <= {"200", "429", "503"}
        assert max(w.slowest_s for w in writers) < 60
        trained.finish()
        check_acknowledged(postgres_uri, run_id, writers)


def test_writes_behind_a_lock_are_refused_in_time(tmp_path: Path, postgres_uri: str) -> None:
    """Another session has locked the table: requests that wait behind the group get 429."""
    with headrace(postgres_uri, tmp_path) as server:
        with Once(server.url) as wire:
            run_id = wire.new_run()
        with psycopg.connect(postgres_uri) as connection:
            connection.execute("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")
            writers = start(CLIENTS, server.url, run_id)
            eventually(lambda: sum(w.answers.get("429", 0) for w in writers) > CLIENTS / 2, 30)
        eventually(lambda: all(w.batches for w in writers), 30)
        for writer in writers:
            writer.stop()
        check_writers([w for w in writers if w.refusals])
        check_acknowledged(postgres_uri, run_id, writers)


def test_a_database_whose_connections_are_all_taken(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Others hold every connection that PostgreSQL gives: 429, until one is free again."""
    uri = own_postgres.uri
    batch: dict[str, Any] = {"metrics": [point("a", 1, 1)]}
    ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'headrace'"
    with headrace(uri, tmp_path) as server, Once(server.url) as wire, ExitStack() as held:
        batch["run_id"] = wire.new_run()
        one = held.enter_context(psycopg.connect(uri, autocommit=True))

        def are_taken() -> bool:
            one.execute(f"SELECT pg_terminate_backend(pid) FROM ({ours}) AS ours")
            with suppress(psycopg.OperationalError):
                while True:
                    held.enter_context(psycopg.connect(uri))
            return not one.execute(ours).fetchall()

        eventually(are_taken, 30)
        refused = wire.post("runs/log-batch", batch)
        assert (refused.status, refused.headers["retry-after"].isdigit()) == (429, True)
        assert reads(server, batch["run_id"]) == 429
        held.close()
        eventually(lambda: wire.post("runs/log-batch", batch).status == 200, BACK_WITHIN_S)
        assert reads(server, batch["run_id"]) == 200


def end_backends(uri: str) -> None:
    """SIGTERM to every other backend of the database."""
    rows(
        uri,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
