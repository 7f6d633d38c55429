"""The interface between the route table's rules and a server's users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from headrace.auth.access import Access
    from headrace.auth.rules import Rule


class Head(Protocol):
    """The head of a request, as far as it says who sent it."""

    method: str
    path: str
    headers: dict[str, str]  # lower-case names
    client: str  # the address of the peer
    scheme: str


class Unauthenticated(Exception):
    """401: the request has no valid credentials. `challenge` is the header WWW-Authenticate."""

    def __init__(self, challenge: str = 'Basic realm="mlflow"') -> None:
        super().__init__(challenge)
        self.challenge = challenge


class Denied(Exception):
    """403: the caller may not make the request."""


class Caller:
    """The sender of a request, as far as its headers say. `name` is None without credentials."""

    __slots__ = ("name",)

    def __init__(self, name: str | None) -> None:
        self.name = name


class Authority(Protocol):
    """Knows the users and their grants."""

    async def identify(self, rule: Rule, head: Head) -> Caller:
        """The sender of a request, before its body is read.

        Raises `Unauthenticated` for credentials that are missing (unless the rule is `Open`) or
        not valid, and ApiError for too many failed logins (429) and an overload (503).
        """
        ...

    async def admit(self, rule: Rule, caller: Caller, req: Any) -> Access:
        """The caller's access, if the caller may make the request.

        `req` is the argument of the handler: its Struct, or, for a raw route, a mapping of the
        query (the first values) and the path. Raises `Denied`, `Unauthenticated` (the password
        has changed since `identify`) or ApiError (400, 404).
        """
        ...
