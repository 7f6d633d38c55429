"""Connects to one of the hosts of a URI, and asks the next one before the first has given up.

asyncpg tries the hosts one after another within one time limit, so that a host that vanished takes
all of it, and the host that has replaced it is never asked. Here each host has a time limit of its
own, the next one is asked after PATIENCE_S, and the host that answered last is asked first.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from headrace.db.uri import DEFAULT_SESSION_ATTRS

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from headrace.db.postgres.pool import Connection

# Longer than a login over a distant network, so that the order of the URI mostly decides.
PATIENCE_S: Final = 0.5
# asyncpg must see all hosts at once for this one: any host will do if none is a standby.
NEEDS_ALL: Final = "prefer-standby"


class Hosts:
    """The connection arguments of one database, of one or several hosts.

    `arguments` are those of `asyncpg.connect`; `host` and `port` are lists of equal lengths.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._each = [dict(arguments)]
        hosts, ports = arguments.get("host") or [], arguments.get("port") or []
        attrs = arguments.get("target_session_attrs") or os.environ.get("PGTARGETSESSIONATTRS")
        if len(hosts) > 1 and attrs != NEEDS_ALL:
            attrs = attrs or DEFAULT_SESSION_ATTRS
            self._each = [
                {**arguments, "host": host, "port": port, "target_session_attrs": attrs}
                for host, port in zip(hosts, ports, strict=True)
            ]
        self.only_primary = len(self._each) > 1 and attrs in ("primary", "read-write")

    async def connect(self, **more: Any) -> Connection:
        """A connection to the first host that answers and has the wanted attributes.

        `more`: arguments for all hosts. Raises an error of the driver or of the system, that of a
        host that was reached if there is one.
        """
        if len(self._each) == 1:
            return await asyncpg.connect(**{**self._each[0], **more})
        number, connection = await _first(
            [asyncpg.connect(**{**arguments, **more}) for arguments in self._each]
        )
        if number:
            self._each.insert(0, self._each.pop(number))
        return connection


def address_of(connection: Connection) -> object:
    """The address to which a connection was made: host and port, or a path."""
    # asyncpg offers no other access to it.
    return getattr(getattr(connection, "driver", connection), "_addr", None)


async def _first(attempts: Sequence[Coroutine[Any, Any, Connection]]) -> tuple[int, Connection]:
    """The number and result of the first attempt that succeeds; the others are cancelled."""
    waiting = list(enumerate(attempts))
    running: dict[asyncio.Task[Connection], int] = {}
    errors: list[BaseException] = []
    try:
        while waiting or running:
            if waiting:
                number, attempt = waiting.pop(0)
                running[asyncio.get_running_loop().create_task(attempt)] = number
            done, _ = await asyncio.wait(
                running,
                timeout=PATIENCE_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                number = running.pop(task)
                if task.exception() is None:
                    return number, task.result()
                errors.append(task.exception())  # type: ignore[arg-type] # not None here
    finally:
        for _, attempt in waiting:
            attempt.close()
        for task in running:
            task.cancel()
            task.add_done_callback(_discard)
    raise _telling(errors)


def _discard(task: asyncio.Task[Connection]) -> None:
    """Close the connection of an attempt that succeeded too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()


def _telling(errors: Sequence[BaseException]) -> BaseException:
    """The error of a host that refuses the login; else of one that was reached; else the first."""
    telling = [error for error in errors if isinstance(error, asyncpg.PostgresError)]
    reached = [error for error in errors if isinstance(error, asyncpg.InternalClientError)]
    first: BaseException = [*telling, *reached, *errors][0]
    return first
