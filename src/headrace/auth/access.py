"""The rows that one caller may see: the part of a decision that handlers need. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.contract.workspaces import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.auth.decide import Defaults
    from headrace.auth.rules import Resource, Rule
    from headrace.db.base import Tx


class Scope(NamedTuple):
    """The rows of one resource type that a caller may read: those of `ids`, or all but those."""

    ids: frozenset[str]
    only: bool  # True: only the rows of `ids`; False: all rows except those

    def admits(self, id_: str) -> bool:
        """Whether the row may be read."""
        return (id_ in self.ids) is self.only


NOTHING: Final = Scope(frozenset(), only=True)


class Access:
    """The access of a caller to a server without users: everything.

    A server with users passes its own subclass to handlers, as `ctx.access`.
    """

    __slots__ = ()

    user_id: int | None = None
    username: str | None = None
    is_admin: bool = False
    workspace: str = DEFAULT  # of the request
    defaults: Defaults  # the levels besides those of grants; only on a server with users

    def scope(self, resource: Resource) -> Scope | None:
        """The rows of this type that the caller may read; None: all rows.

        Only for the type that the route's rule `scoped` names; `prompt` too if that is
        `registered_model`. A model is a prompt if its tag says so, and then only the scope of
        prompts counts.
        """
        return None

    def hides(self, resource: Resource) -> bool:
        """Whether a grant denies the whole type, so that answers must not show its ids.

        For `run`, `logged_model`, `registered_model_version`, `prompt_version` and `assessment`, on
        every route. Always False for admins.
        """
        return False

    async def undenied(self, resource: Resource, ids: Iterable[str]) -> frozenset[str]:
        """The ids that no grant denies; an answer must not show the others. Costs a read at most."""
        return frozenset(ids)

    async def admit(self, rule: Rule, req: Any) -> Access:
        """The access of the same caller to another route (the fields of a GraphQL query).

        Raises as `Authority.admit`.
        """
        return self

    async def require(self, rule: Rule, req: Any) -> None:
        """Raise as `Authority.admit` unless the same request also meets another rule."""

    async def permits(self, rule: Rule, req: Any) -> bool:
        """Whether the same request also meets another rule."""
        return True

    async def created(self, tx: Tx, resource: Resource, id_: str) -> None:
        """Grant the caller MANAGE on a resource that the transaction creates.

        A new model is of the type `prompt` if its tag says so. Raises INVALID_PARAMETER_VALUE for a
        model with the name of wildcard grants.
        """

    async def new_experiment(self, tx: Tx, id_: str) -> None:
        """Delete the grants on an experiment that the transaction creates and that gives the caller none.

        SQLite gives the id of an experiment that was deleted permanently to the next one.
        """

    async def deleted(self, tx: Tx, resource: Resource, id_: str) -> None:
        """Delete the users' own grants on a resource that the transaction deletes.

        `registered_model` stands for prompts too, also in `renamed`.
        """

    async def renaming(self, resource: Resource, id_: str, new_id: str) -> None:
        """Prepare `renamed`: call it before the transaction, which must not wait for the users' database."""

    async def renamed(self, tx: Tx, resource: Resource, id_: str, new_id: str) -> None:
        """Move the users' own grants on a resource that the transaction renames.

        Raises INVALID_PARAMETER_VALUE for a name whose grants would apply to another resource.
        """

    async def finish(self) -> None:
        """Write what `created`, `deleted` and `renamed` could not write in their transaction.

        Call it after the COMMIT. It writes something only where users have a database of their own,
        and raises a DatabaseError if it fails.
        """


UNRESTRICTED: Final = Access()
