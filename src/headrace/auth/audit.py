"""The audit log: one line for each refused request and each change of users, roles and grants.

A line says who did what from where, never a value: no password, hash, token, id or body.
"""

from __future__ import annotations

import getpass
import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

from headrace.auth.authority import Denied, Unauthenticated
from headrace.auth.failures import TooManyFailures
from headrace.contract.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.auth.authority import Caller, Head
    from headrace.auth.origins import Origins

log = logging.getLogger("headrace.audit")
# Lines for refused requests: this many at once, then this many per second. Changes have no limit.
REFUSALS_AT_ONCE: Final = 100
REFUSALS_PER_S: Final = 5.0
LONGEST_NAME: Final = 100  # characters


class Audit:
    """Writes the audit lines of one process."""

    def __init__(self, origins: Origins, now: Callable[[], float] = monotonic) -> None:
        self._origins = origins
        self._now = now
        self._allowed = float(REFUSALS_AT_ONCE)
        self._counted_at_s = now()
        self._omitted = 0

    def refused(self, head: Head, route: str, caller: Caller | None, error: Exception) -> None:
        """See `Authority.refused`.

        Requests without any credentials are not logged: browsers send one before each login.
        """
        status, reason, name = _refusal(error)
        if reason is None:
            return
        if not self._may_write():
            self._omitted += 1
            return
        if caller is not None and caller.name is not None:
            name = caller.name
        fields: dict[str, object] = {
            "user": shown(name),
            "client": self._origins.address(head),
            "method": head.method,
            "route": route,
            "status": status,
            "reason": reason,
        }
        if self._omitted:
            fields["omitted_lines"] = self._omitted
            self._omitted = 0
        log.warning("refused", extra={"fields": fields})

    def changed(self, head: Head, name: str | None, action: str, **objects: object) -> None:
        """Log a committed change, such as `role.assign`, by the user `name`.

        `objects` are the names and ids of what was changed, and levels of grants; no other values.
        """
        _changed({"user": shown(name), "client": self._origins.address(head)}, action, objects)

    def _may_write(self) -> bool:
        now_s = self._now()
        earned = (now_s - self._counted_at_s) * REFUSALS_PER_S
        self._allowed = min(float(REFUSALS_AT_ONCE), self._allowed + earned)
        self._counted_at_s = now_s
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True


def command_changed(action: str, **objects: object) -> None:
    """Log a change by a command, as `Audit.changed`; the user is that of the operating system."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container without an entry for its user id
        name = None
    _changed({"system_user": shown(name), "client": "command"}, action, objects)


def _changed(who: Mapping[str, object], action: str, objects: Mapping[str, object]) -> None:
    shown_objects = {key: shown(v) if isinstance(v, str) else v for key, v in objects.items()}
    log.info("changed", extra={"fields": {**who, "action": action, **shown_objects}})


def _refusal(error: Exception) -> tuple[int, str | None, str | None]:
    """Status, reason, and the user as far as the error names one."""
    if isinstance(error, Unauthenticated):
        return 401, error.reason, error.name
    if isinstance(error, Denied):
        return 403, "not allowed", None
    if isinstance(error, TooManyFailures):
        return error.status, "too many failed logins", error.name
    if isinstance(error, ApiError) and error.status in (401, 403):
        return error.status, "not allowed", None
    return 0, None, None


def shown(name: str | None) -> str:
    """A name in one line of bounded length; `-` for an unknown user."""
    if name is None:
        return "-"
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME] + "…"
