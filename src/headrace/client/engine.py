"""One engine per process and database, for programs that use a database without a server.

It has the transactions and the group commit of the server. SQLite runs in the calling threads, PostgreSQL
on an event loop in a daemon thread. A forked child process opens new engines. At exit, engines commit the
queued writes and close their connections.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from headrace.api.context import Context
from headrace.api.tracking.runs import sql as runs_sql
from headrace.commit.direct import DirectCommit
from headrace.commit.group import GroupCommit
from headrace.commit.reads import BatchedReads
from headrace.contract.errors import unavailable
from headrace.contract.texts import refuse_unstorable
from headrace.db.coroutines import run_to_end
from headrace.db.open import is_direct, open_database, open_direct
from headrace.settings.defaults import FILE_STORE, absolute
from headrace.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from headrace.commit.kinds import Kind
    from headrace.db.base import Database, Dialect, Schema
    from headrace.db.sqlite.direct import DirectSqlite
    from headrace.settings.table import Settings

T = TypeVar("T")
# Limits the commit of queued writes, so that an unavailable database cannot block the exit of the process.
CLOSE_TIMEOUT_S: Final = 30.0
VARIABLES: Final = ("HEADRACE_SQLITE_SYNCHRONOUS", "HEADRACE_POSTGRES_CONNECTIONS")


class Engine(Protocol):
    """A database for any thread. Every method returns when its work is done, and writes are committed."""

    dialect: Dialect
    schema: Schema

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> Any:
        """Apply an operation in the group commit; return its result or raise its error."""
        ...

    def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.read`."""
        ...

    def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.write`."""
        ...

    def handle(self, handler: Callable[..., Awaitable[T]], request: Any) -> T:
        """Call a handler of api/; return its result."""
        ...

    def close(self) -> None:
        """Commit the queued writes and close every connection."""
        ...


def _context(db: Database, writer: GroupCommit, settings: Settings) -> Context:
    runs = BatchedReads(partial(db.read_point, runs_sql.get_many))
    return Context(db, writer, settings, runs=runs)


class DirectEngine:
    """SQLite in the calling thread, because switching threads costs more than a small write."""

    dialect: Dialect = "sqlite"

    def __init__(self, settings: Settings) -> None:
        self._db: DirectSqlite = open_direct(settings)
        self._commit = DirectCommit(self._db)
        self._context = _context(cast("Database", self._db), self._commit, settings)
        self.schema = self._db.schema
        self._forking = False

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> Any:
        return self._commit.submit(kind, op, cost_bytes).result()

    def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        return run_to_end(self._db.read(fn, *args))

    def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        return run_to_end(self._db.write(fn, *args))

    def handle(self, handler: Callable[..., Awaitable[T]], request: Any) -> T:
        refuse_unstorable(request)
        return run_to_end(cast("Coroutine[Any, Any, T]", handler(request, self._context)))

    def close(self) -> None:
        run_to_end(self._commit.close())
        run_to_end(self._db.close())

    def before_fork(self) -> None:
        self._forking = self._db.prepare_fork()

    def after_fork(self) -> None:
        if self._forking:
            self._forking = False
            self._db.resume_after_fork()


class LoopEngine:
    """PostgreSQL on an event loop in a background thread, for which callers wait."""

    def __init__(self, settings: Settings) -> None:
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._run, name="headrace", daemon=True)
        self._thread.start()
        try:
            self._db = self._call(open_database, settings)
        except BaseException:
            self._stop()
            raise
        self.dialect = self._db.dialect
        self.schema = self._db.schema
        self._commit = GroupCommit(self._db)
        self._context = _context(self._db, self._commit, settings)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _call(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        return cast("T", _LoopCall(fn, args).result(self._loop))

    async def _submitted(self, kind: Kind, op: Any, cost_bytes: int) -> Any:
        return await self._commit.submit(kind, op, cost_bytes)

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> Any:
        return self._call(self._submitted, kind, op, cost_bytes)

    def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        return cast("T", self._call(self._db.read, fn, *args))

    def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        return cast("T", self._call(self._db.write, fn, *args))

    def handle(self, handler: Callable[..., Awaitable[T]], request: Any) -> T:
        refuse_unstorable(request)
        return self._call(handler, request, self._context)

    async def _close(self) -> None:
        await self._commit.close()
        await self._db.close()

    def close(self) -> None:
        try:
            self._call(asyncio.wait_for, self._close(), CLOSE_TIMEOUT_S)
        except TimeoutError as error:
            raise unavailable(
                f"Queued writes were not committed within {CLOSE_TIMEOUT_S:.0f} s."
            ) from error
        finally:
            self._stop()


class _LoopCall:
    """A call from a thread to the event loop. Waiting on a plain lock costs half as much as on a Future."""

    __slots__ = ("_args", "_done", "_error", "_fn", "_loop", "_value")

    def __init__(self, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        self._fn = fn
        self._args = args
        self._value: Any = None
        self._error: BaseException | None = None
        self._done = threading.Lock()

    def result(self, loop: asyncio.AbstractEventLoop) -> Any:
        self._done.acquire()
        self._loop = loop
        loop.call_soon_threadsafe(self._start)
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return self._value

    def _start(self) -> None:
        _RUNNING.add(task := self._loop.create_task(self._run()))
        task.add_done_callback(_RUNNING.discard)

    async def _run(self) -> None:
        try:
            self._value = await self._fn(*self._args)
        except BaseException as error:  # noqa: BLE001 `result` raises it in the calling thread
            self._error = error
        finally:
            self._done.release()


_RUNNING: set[asyncio.Task[None]] = set()  # the loop holds only weak references to tasks


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return cast("asyncio.AbstractEventLoop", uvloop.new_event_loop())


_engines: dict[str, Engine] = {}
_holders: Counter[str] = Counter()  # open connections of `headrace.connect` by URI
_kept: set[str] = set()  # URIs whose engine closes only at exit
_opening = threading.Lock()
_abandoned: list[Any] = []  # engines of the parent, whose connections a child must not close


def engine_of(uri: str) -> Engine:
    """Return the engine of this process for a database. Raises UriError, UnusableDatabase."""
    engine = _engines.get(uri)
    return engine if engine is not None else _open(uri)


def keep(uri: str) -> None:
    """Let the engine of a database stay open until the process ends."""
    _kept.add(uri)


def hold(uri: str) -> None:
    """Open the engine of a database for one more user. Raises as `engine_of`."""
    engine_of(uri)
    with _opening:
        _holders[uri] += 1


def release(uri: str) -> None:
    """Undo `hold`. The last user's release commits the queued writes and closes the engine."""
    with _opening:
        _holders[uri] -= 1
        unused = _holders[uri] <= 0 and uri not in _kept
        engine = _engines.pop(uri, None) if unused else None
    if engine is not None:
        engine.close()


def create(uri: str, artifact_root: str) -> None:
    """As `engine_of`. In a new database, experiment 0 gets a location below `artifact_root`."""
    if uri not in _engines:
        _open(uri, artifact_root)


def _open(uri: str, artifact_root: str | None = None) -> Engine:
    with _opening:
        engine = _engines.get(uri)
        if engine is None:
            environ = {name: os.environ[name] for name in VARIABLES if name in os.environ}
            root = artifact_root or absolute(FILE_STORE)  # there is no server to send artifacts to
            settings = load({"backend_store_uri": uri, "default_artifact_root": root}, environ)
            engine = DirectEngine(settings) if is_direct(settings) else LoopEngine(settings)
            _engines[uri] = engine
    return engine


def close_all() -> None:
    """Close every engine of this process; its next use opens a new one."""
    with ExitStack() as closing:
        while _engines:
            _, engine = _engines.popitem()
            closing.callback(engine.close)


def _before_fork() -> None:
    for engine in _engines.values():
        if isinstance(engine, DirectEngine):
            engine.before_fork()


def _after_fork_in_parent() -> None:
    for engine in _engines.values():
        if isinstance(engine, DirectEngine):
            engine.after_fork()


def _after_fork_in_child() -> None:
    global _opening
    _opening = threading.Lock()
    _abandoned.extend(_engines.values())
    _engines.clear()
    _RUNNING.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
