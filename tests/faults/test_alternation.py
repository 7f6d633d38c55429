"""headrace and stock MLflow serve one database in turn and leave the same rows as either alone."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tests.faults.load import Once, eventually, in_threads, point
from tests.faults.stored import check_latest, rows
from tests.fix_database import empty_database
from tests.fix_server import Server, headrace, stock
from tests.ops.test_doctor import command
from tests.sql.catalog import postgres_catalog, sqlite_catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
WRITERS, BATCHES = 3, 5  # of the load in every turn
LIMIT_S = 60
# Random ids and current times are not compared.
STATEMENTS = (
    "SELECT name, status, end_time, lifecycle_stage, source_type, user_id FROM runs ORDER BY name",
    "SELECT r.name, m.key, m.value, m.timestamp, m.step, m.is_nan FROM metrics m"
    " JOIN runs r USING (run_uuid) ORDER BY 1, 2, 5, 3",
    "SELECT r.name, m.key, m.value, m.timestamp, m.step, m.is_nan FROM latest_metrics m"
    " JOIN runs r USING (run_uuid) ORDER BY 1, 2",
    "SELECT r.name, p.key, p.value FROM params p JOIN runs r USING (run_uuid) ORDER BY 1, 2",
    "SELECT r.name, t.key, t.value FROM tags t JOIN runs r USING (run_uuid) ORDER BY 1, 2",
    "SELECT name, lifecycle_stage FROM experiments ORDER BY name",
    "SELECT version_num FROM alembic_version",
)


def work(server: Server, turn: int, run_ids: list[str]) -> None:
    """One turn: a run of its own, and more for the runs of the turns before."""
    with Once(server.url) as wire:
        wire.made("experiments/create", {"name": f"experiment-{turn}"})
        run_ids.append(wire.new_run(name=f"run-{turn}"))
        for place, run_id in enumerate(run_ids):
            wire.made("runs/log-batch", batch(run_id, turn, place))
        change = {"run_id": run_ids[-1], "status": "FINISHED", "end_time": 5 + turn}
        wire.made("runs/update", change)
        if turn:
            wire.made("runs/delete", {"run_id": run_ids[0]})
            wire.made("runs/restore", {"run_id": run_ids[0]})


def batch(run_id: str, turn: int, place: int) -> dict[str, Any]:
    """Metrics out of order in step and time, a param per turn, a tag that changes."""
    return {
        "run_id": run_id,
        "metrics": [
            point("a", turn, turn % 2),
            {"key": "a", "value": -turn, "timestamp": 9, "step": 1},
            {"key": "nan", "value": "NaN", "timestamp": 1, "step": turn},
        ],
        "params": [{"key": f"turn-{turn}", "value": f"{place}"}],
        "tags": [{"key": "turn", "value": f"{turn}"}],
    }


def load(server: Server, turn: int, run_id: str) -> None:
    """Clients that log to one run concurrently; each retries refused requests, as MLflow's client does."""

    def write(number: int) -> None:
        with Once(server.url) as wire:
            for n in range(turn * BATCHES, (turn + 1) * BATCHES):
                body = {
                    "run_id": run_id,
                    "metrics": [point(f"writer-{number}", n, n), point("shared", number, n)],
                    "params": [{"key": f"writer-{number}-{n}", "value": str(n)}],
                    "tags": [{"key": f"writer-{number}", "value": str(n)}],
                }
                eventually(partial(is_taken, wire, body), LIMIT_S)

    in_threads([partial(write, number) for number in range(WRITERS)])


def is_taken(wire: Once, body: dict[str, Any]) -> bool:
    """Whether a batch was acknowledged; a refusal must be one that clients retry."""
    answer = wire.post("runs/log-batch", body)
    assert answer.status == 200 or answer.status >= 500, str(answer)
    return answer.status == 200


def drill(turns: int, servers: Callable[[int], AbstractContextManager[Server]] | Server) -> None:
    """The turns of one story: `servers` gives the one of each turn, or is the one of all."""
    run_ids: list[str] = []
    shared = ""
    for turn in range(turns):
        with nullcontext(servers) if isinstance(servers, Server) else servers(turn) as server:
            if not shared:
                with Once(server.url) as wire:
                    shared = wire.new_run(name="shared")
            jobs = [partial(work, server, turn, run_ids), partial(load, server, turn, shared)]
            in_threads(jobs)


@pytest.fixture
def uris(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two empty databases: one for both servers in turn, one for stock alone."""
    with (
        empty_database(kind, request, tmp_path, "turns") as turns,
        empty_database(kind, request, tmp_path, "stock") as stock_alone,
    ):
        yield turns, stock_alone


@pytest.mark.timeout(600)  # starts of real servers, some of them stock MLflow
@pytest.mark.parametrize(
    ("kind", "turns", "first"),
    [
        ("sqlite", 3, "headrace"),
        pytest.param("sqlite", 11, "headrace", marks=SOAK),  # ten alternations
        pytest.param("sqlite", 11, "stock", marks=SOAK),
        pytest.param("postgres", 11, "headrace", marks=SOAK),
        pytest.param("postgres", 11, "stock", marks=SOAK),
    ],
)
def test_rows_after_turns_of_both_are_those_of_one(
    uris: tuple[str, str], turns: int, first: str, tmp_path: Path
) -> None:
    """One after the other under load; then the database is released, and as stock's own but for its rows."""
    shared, alone = uris
    order = (headrace, stock) if first == "headrace" else (stock, headrace)
    drill(turns, lambda turn: order[turn % 2](shared, tmp_path))
    with stock(alone, tmp_path) as server:
        drill(turns, server)
    for statement in STATEMENTS:
        assert rows(shared, statement) == rows(alone, statement), statement
    check_latest(shared)
    released = command("db", "release", shared)
    assert released.returncode == 0, released.stderr
    assert shape(shared) == shape(alone)


def shape(uri: str) -> Any:
    """Everything in a database except its rows."""
    if not uri.startswith("sqlite"):
        found = postgres_catalog(uri)
        settings = rows(
            uri,
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
            " WHERE datname = current_database()",
        )
        names = set(found) - {"rows", "sequences"}
        return {name: found[name] for name in names} | {"settings": settings}
    path = Path(urlsplit(uri).path[1:])
    head = path.read_bytes()[:100]
    # Not: counters of changes (24, 92), sizes (28, 32), the schema's counter (40), SQLite's version (96).
    beside = sorted(p.name.removeprefix(path.name) for p in path.parent.glob(f"{path.name}?*"))
    found = sqlite_catalog(path)
    del found["rows"]
    return head[:24], head[44:92], beside, found
