"""The outcome of the operations of a group, for every order of database errors."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.commit.scripted import Op, ScriptedDatabase, kind

from headrace.commit import group as groups
from headrace.commit import outcome
from headrace.commit.group import GROUP_LOCK_S, PROBE_LOCK_S, GroupCommit
from headrace.commit.kinds import Excluded, Kind
from headrace.contract.errors import ApiError, invalid
from headrace.db.errors import (
    Blocked,
    Crowded,
    DatabaseError,
    DataRejected,
    InDoubt,
    Lost,
    Retryable,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

LOG = kind("log")
NEW = kind("new", 0, once=True)


@pytest.fixture(autouse=True)
def times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come after milliseconds. Time limits are far away, so that a busy machine reaches none."""
    monkeypatch.setattr(groups, "BLOCKED_CHECK_S", 0.001)
    monkeypatch.setattr(outcome, "DOUBT_PAUSE_S", 0.001)
    monkeypatch.setattr(groups, "MAX_WAIT_S", 60)
    monkeypatch.setattr(outcome, "DOUBT_S", 60)


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation waits for a lock for at most 50 ms."""
    monkeypatch.setattr(groups, "MAX_WAIT_S", 0.05)


@pytest.fixture
def short_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group stays in doubt for at most 50 ms."""
    monkeypatch.setattr(outcome, "DOUBT_S", 0.05)


@pytest.fixture
def db() -> ScriptedDatabase:
    """A database that commits everything until a test sets a script."""
    return ScriptedDatabase()


@pytest.fixture
async def commit(db: ScriptedDatabase) -> AsyncIterator[GroupCommit]:
    """A group commit on that database."""
    made = GroupCommit(db)  # type: ignore[arg-type] # as much of a database as it needs
    yield made
    await asyncio.wait_for(made.close(), 5)
    assert (made.depth, made.depth_bytes, made.runs_set_aside) == (0, 0, 0)


async def answers(
    commit: GroupCommit, ops: Iterable[Op], of: Callable[[Op], Kind] = lambda op: LOG
) -> dict[str, Any]:
    """The answer to each operation by its name: a result, a status, or an error."""
    asked = {op[1]: commit.submit(of(op), op, 100) for op in ops}
    heard = await asyncio.wait_for(asyncio.gather(*asked.values(), return_exceptions=True), 5)
    return {
        name: one.status if isinstance(one, ApiError) and one.retry_after_s is not None else one
        for name, one in zip(asked, heard, strict=True)
    }


def some(names: str, subject: str = "run") -> list[Op]:
    """Operations of one subject, named by letters."""
    return [(subject, name) for name in names]


def in_turn(*errors: Exception | None) -> Callable[[list[Op]], Exception | None]:
    """A script: the next transactions end with these errors, later ones commit."""
    left = list(errors)
    return lambda ops: left.pop(0) if left else None


def refuses(*names: str, error: Callable[[], Exception]) -> Callable[[list[Op]], Exception | None]:
    """A script: every transaction with one of these operations fails."""
    return lambda ops: error() if {name for _, name in ops} & set(names) else None


async def until(holds: Callable[[], bool]) -> None:
    """Let the event loop run until a condition holds."""

    async def poll() -> None:
        while not holds():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(poll(), 5)


# one failure


async def test_a_group_is_one_transaction(db: ScriptedDatabase, commit: GroupCommit) -> None:
    assert await answers(commit, some("abc")) == {"a": "A", "b": "B", "c": "C"}
    assert [one.names for one in db.asked] == ["a b c"]


async def test_kinds_are_applied_in_the_order_of_their_ranks(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    await answers(commit, some("aBc"), lambda op: NEW if op[1].isupper() else LOG)
    assert [one.names for one in db.asked] == ["B a c"]


@pytest.mark.parametrize("error", [Unavailable, Lost])
async def test_a_database_that_is_away_has_written_nothing(
    error: type[Exception], db: ScriptedDatabase, commit: GroupCommit
) -> None:
    """Every client may repeat its request, also one that creates a run."""
    db.script = in_turn(error("away"))
    heard = await answers(commit, some("aN"), lambda op: NEW if op[1] == "N" else LOG)
    assert heard == {"a": 429, "N": 429}
    assert len(db.asked) == 1


async def test_a_crowded_database_has_written_nothing(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    db.script = in_turn(Crowded("too many"))
    assert await answers(commit, some("ab")) == {"a": 429, "b": 429}


@pytest.mark.parametrize("error", [DataRejected, DatabaseError, KeyError])
async def test_a_refused_operation_fails_alone(
    error: type[Exception], db: ScriptedDatabase, commit: GroupCommit
) -> None:
    db.script = refuses("c", error=lambda: error("no"))
    heard = await answers(commit, some("abcd"))
    assert isinstance(heard.pop("c"), error)
    assert heard == {"a": "A", "b": "B", "d": "D"}


@pytest.mark.parametrize("subjects", [1, 7, 64])
@pytest.mark.parametrize("count", [2, 3, 64, 200])
async def test_a_refused_operation_costs_logarithmically_many_transactions(
    count: int, subjects: int, db: ScriptedDatabase, commit: GroupCommit
) -> None:
    """There are at most two transactions for each halving of the group."""
    db.script = refuses("7" if count > 7 else "1", error=lambda: DataRejected("no"))
    ops = [(str(n % subjects), str(n)) for n in range(count)]
    heard = await answers(commit, ops)
    assert sum(isinstance(one, DataRejected) for one in heard.values()) == 1
    assert len(db.stored) == count - 1
    assert len(db.asked) <= 1 + 2 * (math.ceil(math.log2(count)) + 1)


async def test_operations_of_one_subject_keep_their_order_when_a_group_is_split(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    db.script = refuses("d", error=lambda: DataRejected("no"))
    await answers(commit, [("x", "a"), ("y", "b"), ("x", "c"), ("y", "d"), ("x", "e"), ("y", "f")])
    stored = [name for subject, name in db.stored if subject == "x"]
    assert stored == ["a", "c", "e"]
    assert [name for subject, name in db.stored if subject == "y"] == ["b", "f"]


async def test_excluded_operations_are_answered_and_the_others_run_again(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    ops = some("abc")
    db.script = in_turn(Excluded({id(ops[1]): invalid("changed")}))
    heard = await answers(commit, ops)
    assert isinstance(heard.pop("b"), ApiError)
    assert heard == {"a": "A", "c": "C"}
    assert [one.names for one in db.asked] == ["a b c", "a c"]


# locks


@pytest.mark.parametrize("error", [Blocked, Retryable])
async def test_a_locked_run_is_set_aside_and_the_others_are_written(
    error: type[Exception], db: ScriptedDatabase, commit: GroupCommit
) -> None:
    db.script = refuses("l", "L", error=lambda: error("locked"))
    asked = {name: commit.submit(LOG, (name.lower(), name)) for name in "abcl"}
    await asyncio.wait_for(asyncio.gather(*(asked[name] for name in "abc")), 5)
    assert not asked["l"].done()
    assert commit.runs_set_aside == 1
    # Later operations of that run wait behind it; the others do not meet the lock again.
    later = commit.submit(LOG, ("l", "L"))
    before = len(db.asked)
    for name in "def":
        assert await asyncio.wait_for(commit.submit(LOG, (name, name)), 5) == name.upper()
    assert [one.names for one in db.asked[before:] if "l" not in one.names.lower()] == list("def")
    db.script = in_turn()
    await asyncio.wait_for(asyncio.gather(asked["l"], later), 5)
    order = [name for subject, name in db.stored if subject == "l"]
    assert order == ["l", "L"]


async def test_the_group_waits_long_for_a_lock_but_its_parts_do_not(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    db.script = refuses("l", error=lambda: Blocked("locked"))
    asked = [commit.submit(LOG, (name, name)) for name in "abcdefgl"]
    await asyncio.wait_for(asyncio.gather(*asked[:-1]), 5)
    assert db.asked[0].lock_s == GROUP_LOCK_S
    assert {one.lock_s for one in db.asked[1:] if one.names != "l"} == {PROBE_LOCK_S}
    db.script = in_turn()
    assert await asyncio.wait_for(asked[-1], 5) == "L"


@pytest.mark.usefixtures("short_wait")
async def test_a_run_that_stays_locked_is_refused_in_time(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    db.script = refuses("l", error=lambda: Blocked("locked"))
    assert await answers(commit, [("a", "a"), ("l", "l")]) == {"a": "A", "l": 429}


async def test_a_run_that_is_found_locked_late_is_refused_in_time(
    db: ScriptedDatabase, commit: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time limit expired while the database still waited for the lock."""
    monkeypatch.setattr(groups, "MAX_WAIT_S", 0.02)
    db.pause_s = 0.04
    db.script = refuses("l", error=lambda: Blocked("locked"))
    assert await answers(commit, [("l", "l")]) == {"l": 429}


async def test_a_run_that_was_locked_is_first_tried_alone(
    db: ScriptedDatabase, commit: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next request does not delay the others for the lock timeout of a group."""
    db.script = refuses("l", error=lambda: Blocked("locked"))
    with monkeypatch.context() as patched:
        patched.setattr(groups, "MAX_WAIT_S", 0.05)
        await answers(commit, [("a", "a"), ("l", "l")])
    db.script = in_turn()
    before = len(db.asked)
    assert await answers(commit, [("l", "m"), ("a", "b")]) == {"m": "M", "b": "B"}
    assert sorted(one.names for one in db.asked[before:]) == ["b", "m"]
    before = len(db.asked)
    await answers(commit, [("l", "n"), ("a", "c")])
    assert [one.names for one in db.asked[before:]] == ["n c"]


async def test_a_locked_table_does_not_cause_a_transaction_per_run(
    db: ScriptedDatabase, commit: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for the locked run ends in time; the operations are written when the lock is released."""
    monkeypatch.setattr(outcome, "SPLIT_S", 0.02)
    db.pause_s = 0.01
    db.script = lambda ops: Blocked("locked")
    asked = [commit.submit(LOG, (str(n), str(n))) for n in range(200)]
    # The transaction under way may hold one run.
    await until(lambda: commit.runs_set_aside >= 199)
    assert len(db.asked) < 100
    db.script, db.pause_s = in_turn(), 0.0
    assert len(await asyncio.wait_for(asyncio.gather(*asked), 5)) == 200
    assert len(db.stored) == 200


async def test_operations_that_are_set_aside_count_as_queued(db: ScriptedDatabase) -> None:
    commit = GroupCommit(db, max_ops=3)  # type: ignore[arg-type]
    db.script = lambda ops: Blocked("locked")
    waiting = [commit.submit(LOG, ("l", name), 100) for name in "abc"]
    # During an attempt the operations are in a transaction, not in the queue.
    await until(lambda: commit.runs_set_aside == 1 and commit.depth == 3)
    assert commit.depth_bytes == 300
    with pytest.raises(ApiError, match="queue is full") as refused:
        commit.submit(LOG, ("a", "d"))
    assert refused.value.status == 429
    db.script = in_turn()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    await commit.close()


# doubt


async def test_a_commit_in_doubt_is_applied_again(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    db.script = in_turn(InDoubt("no answer"))
    heard = await answers(commit, some("aN"), lambda op: NEW if op[1] == "N" else LOG)
    assert heard == {"a": "A", "N": "N"}
    assert [one.names for one in db.asked] == ["N a", "N a"]


@pytest.mark.parametrize("second", [Unavailable, Lost, InDoubt, Crowded])
async def test_in_doubt_while_the_database_is_away_only_repeatable_operations_are_refused(
    second: type[Exception], db: ScriptedDatabase, commit: GroupCommit
) -> None:
    """503: it may be written. The new run waits, because its client would create another one."""
    db.script = in_turn(InDoubt("no answer"), second("away"), Unavailable("away"))
    heard = await answers(commit, some("aN"), lambda op: NEW if op[1] == "N" else LOG)
    assert heard == {"a": 503, "N": "N"}
    assert [one.names for one in db.asked] == ["N a", "N a", "N", "N"]


@pytest.mark.usefixtures("short_doubt")
async def test_a_doubt_that_lasts_ends_with_503(db: ScriptedDatabase, commit: GroupCommit) -> None:
    """Never with 429, which means that nothing is written."""
    first = [InDoubt("no answer")]
    db.script = lambda ops: first.pop() if first else Unavailable("away")
    heard = await answers(commit, some("aN"), lambda op: NEW if op[1] == "N" else LOG)
    assert heard == {"a": 503, "N": 503}


@pytest.mark.parametrize("second", [Blocked, Retryable])
async def test_in_doubt_a_lock_is_waited_for(
    second: type[Exception], db: ScriptedDatabase, commit: GroupCommit
) -> None:
    """The transaction in doubt may hold it."""
    db.script = in_turn(InDoubt("no answer"), second("locked"), second("locked"))
    assert await answers(commit, some("ab")) == {"a": "A", "b": "B"}


@pytest.mark.usefixtures("short_doubt")
async def test_a_lock_in_doubt_that_lasts_ends_with_503(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    first = [InDoubt("no answer")]
    db.script = lambda ops: first.pop() if first else Blocked("locked")
    assert await answers(commit, some("ab")) == {"a": 503, "b": 503}


async def test_a_refusal_after_a_doubt_fails_alone(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    first = [InDoubt("no answer")]
    refusal = refuses("b", error=lambda: DataRejected("no"))
    db.script = lambda ops: first.pop() if first else refusal(ops)
    heard = await answers(commit, some("abc"))
    assert isinstance(heard.pop("b"), DataRejected)
    assert heard == {"a": "A", "c": "C"}


async def test_the_parts_of_a_group_in_doubt_stay_in_doubt(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    """The database goes away again after the split: the rest may have been written the first time."""
    db.script = in_turn(InDoubt("no answer"), DataRejected("no"), None, Unavailable("away"))
    assert await answers(commit, some("ab")) == {"a": "A", "b": 503}


async def test_a_doubt_after_a_split_concerns_only_its_part(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    db.script = in_turn(DataRejected("no"), InDoubt("no answer"), None, Unavailable("away"))
    assert await answers(commit, some("ab")) == {"a": "A", "b": 429}


async def test_a_doubt_after_a_lock_is_resolved_separately(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    db.script = in_turn(Blocked("locked"), InDoubt("no answer"), Unavailable("away"))
    heard = await answers(commit, [("l", "N")], lambda op: NEW)
    assert heard == {"N": "N"}


async def test_at_the_end_of_the_process_a_doubt_is_not_waited_for(db: ScriptedDatabase) -> None:
    commit = GroupCommit(db)  # type: ignore[arg-type]
    first = [InDoubt("no answer")]
    db.script = lambda ops: first.pop() if first else Unavailable("away")
    new = commit.submit(NEW, ("run", "N"))
    await asyncio.wait_for(commit.close(), 5)
    with pytest.raises(ApiError) as refused:
        await new
    assert refused.value.status == 503


async def test_without_an_event_loop_nothing_is_kept_for_later(db: ScriptedDatabase) -> None:
    """As in the threads of a process without a server."""
    commit = GroupCommit(db, can_wait=False)  # type: ignore[arg-type]
    db.script = in_turn(Blocked("locked"))
    assert await answers(commit, some("a")) == {"a": 429}
    db.script = in_turn(InDoubt("no answer"), Unavailable("away"))
    assert await answers(commit, some("N"), lambda op: NEW) == {"N": 503}
    await commit.close()


async def test_a_caller_that_goes_away_does_not_affect_the_others(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    asked = [commit.submit(LOG, op) for op in some("abc")]
    asked[1].cancel()
    assert await asyncio.wait_for(asyncio.gather(asked[0], asked[2]), 5) == ["A", "C"]
    assert len(db.stored) == 3


async def test_a_statement_by_itself_needs_no_transaction_until_its_group_is_split(
    db: ScriptedDatabase, commit: GroupCommit
) -> None:
    single = kind("points", single=True)
    db.script = refuses("l", error=lambda: Blocked("locked"))
    asked = [commit.submit(single, (name, name)) for name in "abl"]
    await asyncio.wait_for(asyncio.gather(*asked[:2]), 5)
    assert db.asked[0].alone
    assert not any(one.alone for one in db.asked[1:])
    db.script = in_turn()
    await asyncio.wait_for(asked[2], 5)
