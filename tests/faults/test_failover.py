"""A standby takes over from its primary under load: nothing acknowledged is lost, and no training fails."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.faults.load import Once, eventually, start, summary
from tests.faults.stored import check_acknowledged, rows
from tests.faults.test_postgres_killed import writes
from tests.faults.training import training
from tests.fix_postgres import standby, with_database
from tests.fix_server import headrace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_postgres import PostgresServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

CLIENTS = 6
BACK_WITHIN_S = 5.0  # after the promotion
REPLAYED = "SELECT to_regclass('metrics') IS NOT NULL"  # the tables that the server has made
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headrace'"


@contextmanager
def synchronous_standby(
    primary: PostgresServer, port: int | None = None
) -> Iterator[PostgresServer]:
    """A standby that has every transaction before its COMMIT is answered."""
    with standby(primary, port) as second:
        primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication"
        eventually(lambda: rows(primary.uri, state) == [("sync",)], 30)
        yield second


def leave(primary: PostgresServer, fault: str) -> None:
    """Take the primary away: it is killed, its host falls silent, or it takes no writes any more."""
    if fault == "killed":
        primary.kill()
    elif fault == "silent":
        primary.freeze()
    else:
        primary.run(
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "SELECT pg_reload_conf()",
        )
        eventually(lambda: rows(primary.uri, OURS) == [(0,)], 10)


@pytest.mark.parametrize("fault", ["killed", "silent", "demoted"])
def test_a_promoted_standby_takes_over(
    fault: str, own_postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Writes succeed again within 5 s of the promotion, on the server that the URI names second."""
    own_postgres.run("CREATE DATABASE tracking")
    with synchronous_standby(own_postgres) as second:
        uri = (
            f"postgresql://postgres@127.0.0.1:{own_postgres.port},127.0.0.1:{second.port}/tracking"
        )
        there = with_database(second.uri, "tracking")
        replica = ("--read-replica-backend-store-uri", there)  # until it is promoted
        with (
            headrace(uri, tmp_path, *replica) as server,
            training(server.url, there, tmp_path) as trained,
        ):
            with Once(server.url) as wire:
                run_id = wire.new_run()
            eventually(lambda: rows(there, REPLAYED) == [(True,)], 30)
            trained.wait_until_it_logs()
            writers = start(CLIENTS, server.url, run_id)
            eventually(lambda: all(len(w.batches) > 2 for w in writers), 30)
            leave(own_postgres, fault)
            time.sleep(1)  # until somebody notices and decides
            second.run("SELECT pg_promote()")
            began = time.monotonic()
            eventually(lambda: writes(server, run_id), BACK_WITHIN_S)
            back_s = time.monotonic() - began
            before = [len(w.batches) for w in writers]
            eventually(
                lambda: all(len(w.batches) > n for w, n in zip(writers, before, strict=True)), 10
            )
            for writer in writers:
                writer.stop()
            # A request that hangs on a silent host gets its answer from the new primary.
            assert fault == "silent" or any(w.refusals for w in writers), "nobody noticed"
            assert all(set(w.answers) <= {"200", "429", "503"} for w in writers)
            trained.finish()
            check_acknowledged(there, run_id, writers)
            if fault == "demoted":
                assert rows(own_postgres.uri, OURS) == [(0,)], "still connected to the old primary"
            if fault != "killed":
                own_postgres.kill()
            assert writes(server, run_id)
            with Once(server.url) as wire:
                assert wire.made("runs/search", {"experiment_ids": ["0"]})["runs"]
    with capsys.disabled():
        print(f"\n{fault}: back {back_s:.1f} s after the promotion; {summary(writers)}")  # noqa: T201 its figures are the point


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_failovers_in_a_row(
    own_postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two servers take turns; the one that was killed comes back as a standby of the other."""
    own_postgres.run("CREATE DATABASE tracking")
    with ExitStack() as stack:
        primary, other = own_postgres, stack.enter_context(synchronous_standby(own_postgres))
        uri = f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{other.port}/tracking"
        server = stack.enter_context(headrace(uri, tmp_path))
        there = with_database(primary.uri, "tracking")
        trained = stack.enter_context(training(server.url, there, tmp_path))
        with Once(server.url) as wire:
            run_id = wire.new_run()
        trained.wait_until_it_logs()
        writers = start(CLIENTS, server.url, run_id)
        for _ in range(10):
            before = [len(w.batches) for w in writers]
            eventually(
                lambda before=before: all(  # type: ignore[misc]
                    len(w.batches) > n + 2 for w, n in zip(writers, before, strict=True)
                ),
                30,
            )
            primary.kill()
            other.run("SELECT pg_promote()")
            eventually(lambda: writes(server, run_id), BACK_WITHIN_S)
            again = stack.enter_context(synchronous_standby(other, primary.port))
            primary, other = other, again
        for writer in writers:
            writer.stop()
        assert all(set(w.answers) <= {"200", "429", "503"} for w in writers)
        trained.finish(180)
        check_acknowledged(uri, run_id, writers)
    with capsys.disabled():
        print(f"\n{summary(writers)}")  # noqa: T201 its figures are the point
