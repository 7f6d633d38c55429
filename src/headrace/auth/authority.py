"""The interface between the route table's rules and a server's users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from headrace.api.context import Context
    from headrace.auth.access import Access
    from headrace.auth.passwords import Passwords
    from headrace.auth.rules import Rule


class Repeated(str):
    """The first value of a header that a request has more than once."""

    __slots__ = ()


class Head(Protocol):
    """The head of a request, as far as it says who sent it."""

    method: str
    path: str
    target: str  # path and query as they were sent
    headers: dict[str, str]  # lower-case names; `Repeated` if there are further values
    client: str  # the address of the peer
    scheme: str


class Account(Protocol):
    """The row of a user, as it is stored at the time of the request."""

    @property
    def id(self) -> int:
        """The key of `users`."""

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""

    @property
    def password_hash(self) -> str | None:
        """As werkzeug writes it; of a user without a password, a text that begins with `!`."""


class Unauthenticated(Exception):
    """401: the request has no valid credentials. `challenge` is the header WWW-Authenticate.

    `reason` is for the log; None if the request has no credentials at all. `name` is that of an
    existing user, else None: an unknown name may be a password in the wrong field.
    """

    def __init__(
        self,
        reason: str | None = None,
        name: str | None = None,
        challenge: str = 'Basic realm="mlflow"',
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.name = name
        self.challenge = challenge


class Denied(Exception):
    """403: the caller may not make the request."""

    status: Final = 403


class Answered(Exception):
    """A custom authorization_function answers the request itself. `headers` has lower-case names."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.body = body


class Caller:
    """The sender of a request, as far as its headers say.

    `name` is None for a request to an open route, or of Prometheus with its token: such a request
    is allowed. Otherwise the caller must be confirmed by the user's row before anything is done.
    """

    __slots__ = ("name",)

    def __init__(self, name: str | None) -> None:
        self.name = name

    async def confirm(self, account: Account | None) -> None:
        """Check the credentials against the user's row, None if there is no such user.

        Raises Unauthenticated for credentials that the row does not or no longer confirm, and
        ApiError as `Authority.identify`. Only for callers with a name.
        """
        if account is None:
            raise Unauthenticated("unknown user")


class Authority(Protocol):
    """Knows the users and their grants."""

    passwords: Passwords

    def start(self, ctx: Context) -> None:
        """Take the databases (`ctx.accounts`, `ctx.db`), which are open now. Called once."""
        ...

    async def identify(self, rule: Rule, head: Head) -> Caller:
        """The sender of a request, before its body is read; to be confirmed by `admit`.

        Raises `Unauthenticated` for credentials that are missing (unless the rule is `Open`) or
        not valid, and ApiError for too many failed logins (429) and an overload (503).
        """
        ...

    async def verify(self, name: str, password: str, stored: str, head: Head) -> str:
        """Check a password that a request contains. See `PasswordLogin.verify`."""
        ...

    async def admit(
        self, rule: Rule, caller: Caller, req: Any, workspace: str | None = None
    ) -> Access:
        """The caller's access, if the caller may make the request.

        `req` is the argument of the handler: its Struct, or, for a raw route, a mapping of the
        query (the first values) and the path. `workspace` is that of the request, None on a server
        without workspaces. Raises `Denied`, `Unauthenticated` (the password
        has changed since `identify`) or ApiError (400, 404).
        """
        ...

    def refused(self, head: Head, route: str, caller: Caller | None, error: Exception) -> None:
        """Log a request that raised, if its answer is 401, 403 or 429 for a failed login.

        `route` is a path of the route table.
        """
        ...

    def changed(self, head: Head, name: str | None, action: str, **objects: object) -> None:
        """Log a committed change by the user `name`. See `Audit.changed`."""
        ...
