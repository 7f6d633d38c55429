"""SIGKILL to one backend or all of PostgreSQL: acknowledged writes stay, and the service recovers by itself."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.faults.load import API, Once, eventually, in_threads, point, start, summary
from tests.faults.stored import check_acknowledged, check_latest, check_stock_sees_all, rows
from tests.faults.training import training
from tests.fix_postgres import with_database
from tests.fix_proxy import behind_proxy
from tests.fix_server import headrace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_postgres import PostgresServer
    from tests.fix_proxy import Proxy
    from tests.fix_server import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds backends in /proc")

SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
CLIENTS = 6
LONGEST_LIFE_S = 0.4  # of PostgreSQL under load
BACK_WITHIN_S = 5.0  # after PostgreSQL accepts connections again
WHOLE_EVERY = 3  # every third kill ends all of PostgreSQL, the others one backend


def kill_a_backend(postgres: PostgresServer, uri: str, dice: random.Random) -> bool:
    """Send SIGKILL to a backend that serves headrace, if there is one; PostgreSQL then ends all others and recovers."""
    statement = "SELECT pid FROM pg_stat_activity WHERE application_name = 'headrace'"
    with suppress(psycopg.OperationalError):  # it may still be recovering
        pids = [pid for (pid,) in rows(uri, statement)]
        assert set(pids) <= set(postgres.children())
        with suppress(ProcessLookupError, IndexError):
            os.kill(dice.choice(pids), signal.SIGKILL)
            return True
    return False


def takes_connections(uri: str) -> bool:
    """Whether PostgreSQL has recovered."""
    with suppress(psycopg.OperationalError):
        return bool(rows(uri, "SELECT 1"))
    return False


def writes(server: Server, run_id: str) -> bool:
    """Whether a write and a read on a connection of its own succeed."""
    with Once(server.url) as wire:
        written = wire.post("runs/log-batch", {"run_id": run_id, "metrics": [point("probe", 1, 1)]})
        read = wire.ask("GET", f"{API}runs/get?run_id={run_id}")
    assert {written.status, read.status} <= {200, 429, 503}, f"{written} {read}"
    return written.status == read.status == 200


@pytest.mark.parametrize(
    "kills", [pytest.param(20, marks=pytest.mark.timeout(300)), pytest.param(200, marks=SOAK)]
)
def test_acknowledged_writes_survive_postgres(
    kills: int,
    own_postgres: PostgresServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """PostgreSQL is killed repeatedly while clients write and one trains; headrace is never restarted."""
    dice = random.Random(kills)
    uri = with_database(own_postgres.uri, "killed")
    with psycopg.connect(own_postgres.uri, autocommit=True) as admin:
        admin.execute("CREATE DATABASE killed")
    with headrace(uri, tmp_path) as server, training(server.url, uri, tmp_path) as trained:
        with Once(server.url) as wire:
            run_id = wire.new_run()
        trained.wait_until_it_logs()
        writers = start(CLIENTS, server.url, run_id)
        backends = 0
        for number in range(kills):
            time.sleep(dice.uniform(0, LONGEST_LIFE_S))
            if number % WHOLE_EVERY:
                backends += kill_a_backend(own_postgres, uri, dice)
                eventually(lambda: takes_connections(uri), 60)
            else:
                own_postgres.kill()
                own_postgres.start()
            if number % 10 == 9:  # let it recover sometimes, or few writes succeed
                eventually(lambda: writes(server, run_id), BACK_WITHIN_S)
        eventually(lambda: writes(server, run_id), BACK_WITHIN_S)
        for writer in writers:
            writer.stop()
        heard = set().union(*(w.answers for w in writers))
        assert {"200", "429"} <= heard <= {"200", "429", "503"}
        assert all(answer.headers["retry-after"] for w in writers for answer in w.refusals)
        trained.finish(180)
        check_acknowledged(uri, run_id, writers)
        assert server.process.poll() is None
    check_stock_sees_all(uri, run_id)
    # Not all of them, because at some moments there is no backend.
    assert backends > kills / WHOLE_EVERY, "PostgreSQL was hardly ever killed at work"
    whole = -(-kills // WHOLE_EVERY)
    with capsys.disabled():
        print(f"\n{backends} backends, {whole} times all of PostgreSQL: {summary(writers)}")  # noqa: T201 what the long run is for


def test_a_commit_in_doubt_is_written_once(tmp_path: Path, postgres_uri: str) -> None:
    """The connection breaks after COMMIT: headrace asks again on a new one, and the client gets 200."""
    with behind_proxy(postgres_uri, tmp_path) as (proxy, server), Once(server.url) as wire:
        for number in range(5):
            name = (
                f"doubtful-{number}"  # a run is created by one statement, which commits by itself
            )
            proxy.lose_answer_to(name.encode(), then=proxy.reset)
            run_id = wire.new_run(name=name)
            assert proxy.lost_answers == 2 * number + 1
            proxy.lose_answer_to(b"COMMIT\0", then=proxy.reset)
            wire.made("runs/log-batch", full(run_id))
            assert proxy.lost_answers == 2 * number + 2
        assert rows(postgres_uri, "SELECT count(*), count(DISTINCT name) FROM runs") == [(5, 5)]
        assert rows(postgres_uri, "SELECT count(*) FROM metrics") == [(5,)]
        assert rows(postgres_uri, "SELECT count(*) FROM params") == [(5,)]
        check_latest(postgres_uri)


def test_a_commit_in_doubt_when_the_database_goes_with_it(
    tmp_path: Path, postgres_uri: str
) -> None:
    """A batch is refused, because it can be repeated safely. A new run waits: repeated, it would be another."""
    with behind_proxy(postgres_uri, tmp_path) as (proxy, server), Once(server.url) as wire:
        run_id = wire.new_run(name="before")
        proxy.lose_answer_to(b"COMMIT\0", then=proxy.cut)
        refused = wire.post("runs/log-batch", full(run_id))
        assert (refused.status, refused.headers["retry-after"].isdigit()) == (503, True)
        assert rows(postgres_uri, "SELECT count(*) FROM metrics") == [
            (1,)
        ]  # committed in spite of the refusal
        proxy.restore()
        wire.made("runs/log-batch", full(run_id))
        assert rows(postgres_uri, "SELECT count(*) FROM metrics") == [(1,)]
        assert rows(postgres_uri, "SELECT count(*) FROM params") == [(1,)]

        proxy.lose_answer_to(b"doubtful", then=proxy.cut)
        made: list[str] = []
        swallowed = proxy.lost_answers
        with Once(server.url) as other:
            in_threads(
                [
                    lambda: made.append(other.new_run(name="doubtful")),
                    lambda: back(proxy, swallowed),
                ]
            )
        assert rows(postgres_uri, "SELECT run_uuid FROM runs WHERE name = 'doubtful'") == [
            (made[0],)
        ]


def back(proxy: Proxy, swallowed: int) -> None:
    """Restore the network three seconds after it lost one more answer."""
    eventually(lambda: proxy.lost_answers > swallowed and not proxy.listens, 30)
    time.sleep(3)
    proxy.restore()


def full(run_id: str) -> dict[str, Any]:
    """A batch of everything."""
    return {
        "run_id": run_id,
        "metrics": [point("a", 1, 1)],
        "params": [{"key": "p", "value": "v"}],
        "tags": [{"key": "t", "value": "v"}],
    }
