"""The interface between the route table's rules and a server's users. There are no users yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.auth.rules import Rule


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request. `name` is None for one that has not logged in."""

    name: str | None


class Authority(Protocol):
    """Knows the users and their grants."""

    async def caller(self, headers: Mapping[str, str]) -> Caller:
        """The sender of a request with these headers (lower-case names).

        Raises ApiError UNAUTHENTICATED for credentials that are not valid.
        """
        ...

    async def allow(self, rule: Rule, caller: Caller, req: Any) -> None:
        """Return if the caller may make the request.

        `req` is the argument of the handler: its Struct, or, for a raw route, a mapping of the
        query (the first values) and the path. Raises ApiError UNAUTHENTICATED (401) or
        PERMISSION_DENIED (403).
        """
        ...
