"""The engine in processes that fork, exit, use many threads, or already run an event loop."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.plugin.conftest import output
from tests.waiting import eventually

import headrace
from headrace.client import engine

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Script = Callable[..., subprocess.Popen[str]]


def points(uri: str) -> int:
    """The number of points of `loss` in the database."""
    text = "SELECT count(*) FROM metrics WHERE key = 'loss'"
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
            return int(connection.execute(text).fetchone()[0])
    with psycopg.connect(uri) as connection:
        row = connection.execute(text).fetchone()
        assert row is not None
        return int(row[0])


def test_installing_changes_nothing_and_the_variable_switches_on(
    script: Script, empty_uri: str
) -> None:
    uri = empty_uri
    text = (
        "import sys, warnings\nwarnings.simplefilter('error', UserWarning)\n"
        "from mlflow import MlflowClient\nimport headrace\nuri = sys.argv[1]\n"
        "def store(): return type(MlflowClient(uri)._tracking_client.store).__module__\n"
        "def registry(): return type(MlflowClient(uri)._get_registry_client().store).__module__\n"
        "print(store(), registry())\n"
        "headrace.enable(); print(store(), registry())\n"
        "headrace.disable(); print(store(), registry())\n"
    )
    off = "mlflow.store.tracking.sqlalchemy_store mlflow.store.model_registry.sqlalchemy_store"
    on = "headrace.plugin.trace_store headrace.plugin.registry_store"
    assert output(script(text, uri, headrace="0")).splitlines() == [off, on, off]
    assert output(script(text, uri, headrace="1")).splitlines() == [on, on, off]


def test_while_disabled_no_part_of_the_engine_is_loaded(script: Script, uri: str) -> None:
    text = (
        "import sys\nfrom mlflow import MlflowClient\nMlflowClient(sys.argv[1]).search_runs(['0'])\n"
        "print([name for name in sys.modules if name.startswith('headrace.')"
        " and 'plugin' not in name and name not in ('headrace.version', 'headrace.error')])"
    )
    assert output(script(text, uri, headrace="0")).strip() == "[]"


def test_an_active_run_is_ended_at_exit_and_nothing_is_left(script: Script, uri: str) -> None:
    text = """
import atexit, sys, threading
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
mlflow.start_run(experiment_id="0")
mlflow.log_metric("loss", 0.5)
print(mlflow.active_run().info.run_id)
def end():
    start = threading.Thread.start
    def recorded(thread):
        print(thread)  # newer Pythons refuse to start one at exit
        start(thread)
    threading.Thread.start = recorded
atexit.register(end)
"""
    (run_id,) = output(script(text, uri)).split()
    if uri.startswith("sqlite"):
        path = Path(uri.removeprefix("sqlite:///"))
        assert [file.name for file in path.parent.glob(f"{path.name}*")] == [path.name]
    assert headrace.connect(uri).run(run_id).info.status == "FINISHED"
    engine.close_all()


def test_what_headrace_cannot_open_is_left_to_mlflow(script: Script, sqlite_uri: str) -> None:
    text = """
import os, sys
from mlflow import MlflowClient
client, path = MlflowClient(sys.argv[1]), sys.argv[1].removeprefix("sqlite:///")
client._tracking_client.store  # MLflow has a connection
os.rename(path, path + ".old")
os.mkdir(path)
print(client.get_experiment("0").name)
"""
    assert output(script(text, sqlite_uri)) == "Default\n"


def test_a_replica_of_an_mlflow_server_stays_the_one_it_reads(
    script: Script, tmp_path: Path
) -> None:
    text = """
import os, sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
os.environ["_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE"] = replica = f"sqlite:///{sys.argv[1]}/replica.db"
SqlAlchemyStore(replica, "s3://b").create_experiment("of the replica")
from mlflow.server import handlers
store = handlers._get_tracking_store(f"sqlite:///{sys.argv[1]}/primary.db", "s3://b")
registry = handlers._get_model_registry_store(f"sqlite:///{sys.argv[1]}/primary.db")
print(sorted(e.name for e in store.search_experiments()), registry.read_engine.url)
"""
    for switch in ("0", "1"):
        directory = tmp_path / switch
        directory.mkdir()
        said = output(script(text, str(directory), headrace=switch))
        assert said == f"['Default', 'of the replica'] sqlite:///{directory}/replica.db\n"


def test_at_exit_everything_is_committed_and_no_thread_keeps_the_process(
    script: Script, uri: str
) -> None:
    text = """
import sys, threading
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
run_id = client.create_run("0").info.run_id
def work():
    threading.main_thread().join()  # the interpreter is ending
    for step in range(50):
        client.log_metric(run_id, "loss", 0.5, step=step)
threading.Thread(target=work).start()
"""
    output(script(text, uri))
    assert points(uri) == 50


@pytest.mark.parametrize("way", ["fork", "multiprocessing"])
def test_parent_and_forked_children_continue_to_log(script: Script, uri: str, way: str) -> None:
    text = """
import os, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
run_id = client.create_run("0").info.run_id
client.log_metric(run_id, "loss", 0.0, step=0)
client.search_traces(["0"])  # through the inherited store: its connections must not be shared either
def work(first):
    for step in range(first, first + 20):
        client.log_metric(run_id, "loss", 1.0, step=step)
    client.search_traces(["0"])
if sys.argv[2] == "fork":
    children = []
    for n in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                work(1000 * (n + 1))
            except BaseException:
                import traceback; traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(pid)
    work(1)
    codes = [os.waitpid(pid, 0)[1] for pid in children]
else:
    import multiprocessing
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=work, args=(1000 * (n + 1),)) for n in range(3)]
    for child in children: child.start()
    work(1)
    for child in children: child.join()
    codes = [child.exitcode for child in children]
assert codes == [0, 0, 0], codes
assert len(client.get_metric_history(run_id, "loss")) == 81
"""
    output(script(text, uri, way))
    assert points(uri) == 81


def test_inside_a_running_event_loop(script: Script, uri: str) -> None:
    text = """
import asyncio, sys
import mlflow
async def cell():
    mlflow.set_tracking_uri(sys.argv[1])
    with mlflow.start_run(experiment_id="0"):
        for step in range(10):
            mlflow.log_metric("loss", 0.5, step=step)
            await asyncio.sleep(0)
asyncio.run(cell())
"""
    output(script(text, uri))
    assert points(uri) == 10


def test_threads_that_log_at_once_share_transactions(script: Script, uri: str) -> None:
    text = """
import sys, threading
from mlflow import MlflowClient
from headrace.commit import group as groups_of
groups = []
settle = groups_of.GroupCommit._settle
async def noted(self, group, *rest):
    groups.append(len(group))
    await settle(self, group, *rest)
groups_of.GroupCommit._settle = noted
client = MlflowClient(sys.argv[1])
run_id = client.create_run("0").info.run_id
def work(n):
    for step in range(40):
        client.log_metric(run_id, "loss", float(n), step=step * 16 + n)
threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert sum(groups) == 641, sum(groups)
print(max(groups))
"""
    assert int(output(script(text, uri))) > 1
    assert points(uri) == 640


def test_a_fork_while_threads_log(script: Script, uri: str) -> None:
    text = """
import os, sys, threading, time
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
run_id = client.create_run("0").info.run_id
stop, counts = threading.Event(), [0] * 4
def log(n):
    while not stop.is_set():
        client.log_metric(run_id, "loss", 1.0, step=counts[n] * 4 + n)
        client.get_run(run_id)
        counts[n] += 1
threads = [threading.Thread(target=log, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
children = []
for child in range(5):
    before = sum(counts)
    while sum(counts) < before + 4: time.sleep(0.001)  # the threads go on after a fork
    pid = os.fork()
    if pid == 0:
        try:
            for step in range(5):
                client.log_metric(run_id, "loss", 2.0, step=-1 - child * 5 - step)
        except BaseException:
            import traceback; traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(pid)
codes = [os.waitpid(pid, 0)[1] for pid in children]
stop.set()
for thread in threads: thread.join()
assert codes == [0] * 5, codes
print(sum(counts) + 25)
"""
    acknowledged = int(output(script(text, uri)))
    assert points(uri) == acknowledged


def test_no_connection_is_left_behind(script: Script, uri: str) -> None:
    text = """
import os, sys, threading
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
run_id = client.create_run("0").info.run_id
def work(n):
    client.log_metric(run_id, "loss", 1.0, step=n)
    client.search_runs(["0"])
threads = [threading.Thread(target=work, args=(n,)) for n in range(32)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert [t for t in threading.enumerate() if not t.daemon] == [threading.main_thread()]
import headrace.client.engine
headrace.client.engine.close_all()
sys.stdout.write("closed\\n"); sys.stdout.flush()
sys.stdin.readline()
client.log_metric(run_id, "loss", 1.0, step=99)  # it opens again
"""
    process = script(text, uri)
    assert process.stdout is not None
    assert process.stdout.readline() == "closed\n", process.communicate()[1][-3000:]
    if not uri.startswith("sqlite"):
        eventually(lambda: connections(uri, "headrace") == 0)
    output(process)
    assert points(uri) == 33
    if uri.startswith("sqlite"):
        path = Path(uri.removeprefix("sqlite:///"))
        assert [file.name for file in path.parent.glob(f"{path.name}*")] == [path.name]
    else:
        eventually(lambda: connections(uri) == 0)


def connections(uri: str, name: str = "%") -> int:
    """The number of other connections to a PostgreSQL database with this application name."""
    with psycopg.connect(uri) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND application_name LIKE %s",
            [name],
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.soak)])
def test_eight_processes_of_eight_threads_lose_nothing_in_one_file(
    script: Script, tmp_path: Path, seconds: int
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    text = """
import multiprocessing, sys, threading, time
from mlflow import MlflowClient
def work(start, answers):
    client = MlflowClient(sys.argv[1])
    run_id = client.create_run("0").info.run_id
    acknowledged = [0] * 8
    def log(n):
        while time.monotonic() < end:
            client.log_metric(run_id, "loss", 1.0, step=acknowledged[n] * 8 + n)
            acknowledged[n] += 1
    start.wait()
    end = time.monotonic() + int(sys.argv[2])
    threads = [threading.Thread(target=log, args=(n,)) for n in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    answers.put(acknowledged)
MlflowClient(sys.argv[1]).get_experiment("0")
context = multiprocessing.get_context("fork")
start, answers = context.Barrier(8), context.Queue()
children = [context.Process(target=work, args=(start, answers)) for _ in range(8)]
for child in children: child.start()
counts = [answers.get(timeout=int(sys.argv[2]) + 120) for _ in children]
for child in children: child.join()
assert [child.exitcode for child in children] == [0] * 8
assert all(min(acknowledged) > 0 for acknowledged in counts), counts
print(sum(map(sum, counts)))
"""
    process = script(text, uri, str(seconds))
    out, err = process.communicate(timeout=seconds + 200)
    assert process.returncode == 0, err[-3000:]
    assert "locked" not in err
    assert points(uri) == int(out)
