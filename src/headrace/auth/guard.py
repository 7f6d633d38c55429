"""The authority of a server with users: who may do what, by the grants of each user.

A request costs one read of the users' database, which concurrent requests share, besides those that
find what its ids belong to.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from headrace.auth.access import UNRESTRICTED
from headrace.auth.authority import Denied, Unauthenticated
from headrace.auth.decide import (
    NO_REQUIREMENTS,
    WILDCARD,
    WORKSPACE,
    Defaults,
    Level,
    Step,
    level_at,
    meets,
    readable,
)
from headrace.auth.effects import KeepsGrants
from headrace.auth.grantable import canonical
from headrace.auth.resolve import Resolver
from headrace.auth.rules import ADMIN, METRICS, OPEN, UNRULED, Judged, Scoped, values
from headrace.contract.errors import ApiError
from headrace.contract.workspaces import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from headrace.api.context import Context
    from headrace.auth.access import Access, Scope
    from headrace.auth.account import Account, AccountReads
    from headrace.auth.account_sql import Patterns
    from headrace.auth.audit import Audit
    from headrace.auth.authority import Caller
    from headrace.auth.custom import CustomLogin
    from headrace.auth.decide import Grant, Plan, Requirement
    from headrace.auth.external import ExternalUsers
    from headrace.auth.login import Login, PasswordLogin
    from headrace.auth.oidc import Oidc
    from headrace.auth.rules import Demand, Resource, Rule
    from headrace.db.base import Database

# The resource types whose rows a search may be restricted to, for the type that its rule names.
ROWS: Final[Mapping[str, tuple[Resource, ...]]] = {
    "experiment": ("experiment",),
    "registered_model": ("registered_model", "prompt"),
    "gateway_secret": ("gateway_secret",),
    "gateway_model_definition": ("gateway_model_definition",),
    "gateway_endpoint": ("gateway_endpoint",),
    "scorer": ("experiment", "scorer"),
}
# Ids of a search whose grants are read one by one, about 10 us each on SQLite, on the event loop.
MAX_AMONG: Final = 100
# Conditions that are judged together. A request may have as many as its body may have values.
MAX_PORTION: Final = 100


class UserAuthority:
    """Judges requests by the users, roles and grants of MLflow's basic-auth app."""

    def __init__(
        self,
        login: Login,
        accounts: AccountReads,
        audit: Audit,
        external: ExternalUsers,
        by_password: PasswordLogin,
        oidc: Oidc | None = None,
        custom: CustomLogin | None = None,
        *,
        default_permission: str,
        fail_closed: bool = True,
        checks_graphql: bool = True,
        opens_default: bool = False,
    ) -> None:
        """`default_permission` is for resources without any grant.

        `fail_closed`: only admins may use what no rule covers. `checks_graphql`: the fields of
        GraphQL queries are judged. `opens_default`: on a server with workspaces,
        `default_permission` counts in `default`; in other workspaces nothing is allowed without a
        grant.
        """
        self.identify = login.identify
        self.refused = audit.refused
        self.changed = audit.changed
        self.passwords = by_password.passwords
        self.verify = by_password.verify
        default = Level[default_permission]
        self._open = Defaults(default, default)
        self._closed = Defaults(default, Level.NO_PERMISSIONS)
        self._opens_default = opens_default
        self.checks_graphql = checks_graphql
        self._fail_closed = fail_closed
        self._accounts = accounts
        self._external = external
        self._oidc = oidc
        self._custom = custom
        self._in_tracking = False
        self.users_db: Database  # set by `start`; it may have no table of workspaces
        # The reads of many long requests are not merged into one that takes long.
        self._further = asyncio.Lock()
        self._resolver: Resolver

    def start(self, ctx: Context) -> None:
        """See `Authority.start`."""
        users = ctx.accounts
        self._accounts.start(users.db)
        self._external.start(users.db)
        ctx.oidc = self._oidc
        if self._custom is not None:
            self._custom.start()
        self._in_tracking = users.in_tracking
        self.users_db = users.db
        self._resolver = Resolver(ctx.db)

    def defaults_in(self, workspace: str | None) -> Defaults:
        """The levels in a workspace besides those of grants; None: a server without workspaces."""
        is_open = workspace is None or (workspace == DEFAULT and self._opens_default)
        return self._open if is_open else self._closed

    async def admit(
        self, rule: Rule, caller: Caller, req: Any, workspace: str | None = None
    ) -> Access:
        """See `Authority.admit`."""
        if caller.name is None:
            if rule is not OPEN and rule is not METRICS:
                raise Unauthenticated
            return UNRESTRICTED
        refusal: Denied | ApiError | None = None
        further: Iterator[Demand] = iter(())
        ids = rule.ids(req)
        plan = None if ids is None else self._resolver.known(rule, ids, workspace)
        if plan is None:
            plan, further = NO_REQUIREMENTS, rule.demands(req)
            try:
                portion = _portion(further)
                plan = await self._resolver.plan(portion, caller.name, workspace, rule, ids)
            except (Denied, ApiError) as error:
                refusal = error  # does not concern admins
        among = _among(rule, req)
        needed = plan.requirements if among is None else (*plan.requirements, among)
        types = ROWS.get(rule.rows, ()) if isinstance(rule, Scoped) else ()
        reads = self._accounts.within(workspace)
        account, found = await _read(reads, caller.name, needed, types if among is None else ())
        await caller.confirm(account)
        if account is None:
            raise Unauthenticated
        access = UserAccess(self, caller, account, reads, self._in_tracking, workspace)
        if not account.is_admin:
            if refusal is not None:
                raise refusal
            await self._judge(rule, plan, access, req)
            while portion := _portion(further):
                await self._judge_further(portion, access)
            if types and not access.is_workspace_admin:
                if account.is_whole or among is not None:
                    found = _by_type(account.grants)
                elif found is None:
                    found = await reads.patterns(access.username, types)
                access.restrict(types, found)
        return access

    async def undenied(
        self, access: UserAccess, account: Account, resource: Resource, ids: tuple[str, ...]
    ) -> frozenset[str]:
        """See `Access.undenied`; `account` is what the decision about the request was based on."""
        steps = tuple((Step(resource, id_, "undenied"),) for id_ in ids)
        defaults = access.defaults
        found: set[str] = set()
        for start in range(0, len(steps), MAX_PORTION):
            portion = steps[start : start + MAX_PORTION]
            known: Account | None = account
            if not account.is_whole:
                async with self._further:
                    await asyncio.sleep(0)  # as in `_judge_further`
                    known = await access.reads.find(account.username, portion)
            if known is None:
                raise Unauthenticated
            found.update(step.id for (step,) in portion if meets((step,), known.levels, defaults))
        return frozenset(found)

    async def _judge(self, rule: Rule, plan: Plan, access: UserAccess, req: Any) -> None:
        """Raise `Denied` unless the caller, who is no admin, may make the request."""
        if rule is ADMIN or (rule is UNRULED and self._fail_closed):
            raise Denied
        if isinstance(rule, Judged):
            if not await self._accounts.db.read(rule.judge, access, req):
                raise Denied
            return
        if not access.meets(plan):
            raise Denied

    async def _judge_further(self, demands: tuple[Demand, ...], access: UserAccess) -> None:
        """Raise `Denied` unless the caller meets these conditions too, of a request with many."""
        username = access.username
        async with self._further:
            await asyncio.sleep(0)  # other requests run, even if the reads do not wait
            plan = await self._resolver.plan(demands, username, access.in_workspace)
            account = await access.reads.find(username, plan.requirements)
        if account is None:
            raise Unauthenticated
        if not plan.is_own(username) or not plan.is_met(
            account.levels, access.defaults, everything=account.is_workspace_admin
        ):
            raise Denied


async def _read(
    reads: AccountReads, name: str, needed: tuple[Requirement, ...], types: Sequence[Resource]
) -> tuple[Account | None, Patterns | None]:
    """A user, and the patterns of all grants of the types if they are surely needed."""
    if types and reads.is_large(name):
        # Together, because a search that waits for both takes as long as three round trips.
        return await asyncio.gather(reads.find(name, needed), reads.patterns(name, types))
    return await reads.find(name, needed), None


def _portion(demands: Iterator[Demand]) -> tuple[Demand, ...]:
    """The next conditions, without repetitions; empty after the last."""
    return tuple(dict.fromkeys(islice(demands, MAX_PORTION)))


def _among(rule: Rule, req: Any) -> Requirement | None:
    """The keys whose grants restrict a search to the ids of its request.

    None: all grants of the type are needed, or the ids are too many for a read of single grants.
    """
    if not isinstance(rule, Scoped) or rule.among is None or rule.rows not in ROWS:
        return None
    named = list(islice(values(rule.among, req), MAX_AMONG + 1))
    if len(named) > MAX_AMONG:
        return None
    ordered = sorted({canonical(id_) for id_ in named})  # equal searches have equal keys
    return tuple(Step(resource, id_, "read") for resource in ROWS[rule.rows] for id_ in ordered)


def _by_type(grants: Iterable[Grant]) -> dict[str, dict[str, list[str]]]:
    """The patterns of grants by type and permission, as `AccountReads.patterns` returns them."""
    found: dict[str, dict[str, list[str]]] = {}
    for resource_type, pattern, permission in grants:
        found.setdefault(resource_type, {}).setdefault(permission, []).append(pattern)
    return found


class UserAccess(KeepsGrants):
    """The access of one user for one request."""

    __slots__ = (
        "_account",
        "_authority",
        "_caller",
        "_scopes",
        "defaults",
        "in_workspace",
        "is_admin",
        "is_workspace_admin",
        "reads",
        "username",
    )

    username: str

    def __init__(
        self,
        authority: UserAuthority,
        caller: Caller,
        account: Account,
        reads: AccountReads,
        in_tracking: bool,
        workspace: str | None,
    ) -> None:
        """`workspace` is that of the request, `reads` are those of its grants."""
        super().__init__(
            account.id, authority.users_db, in_tracking=in_tracking, workspace=workspace or DEFAULT
        )
        self.defaults = authority.defaults_in(workspace)
        self.in_workspace = workspace
        self.reads = reads
        self.username = account.username
        self.is_admin = account.is_admin
        self.is_workspace_admin = account.is_workspace_admin
        self._account = account
        self._authority = authority
        self._caller = caller
        self._scopes: dict[Resource, Scope | None] = {}

    def meets(self, plan: Plan) -> bool:
        """Whether the grants that were read meet the requirements."""
        return self._account.allows(plan, self.defaults)

    def restrict(self, types: tuple[Resource, ...], found: Mapping[str, Any]) -> None:
        """Set the rows that the caller may read; `found` are the patterns of the caller's grants."""
        workspace = level_at(self._account.levels, WORKSPACE, WILDCARD)
        for resource in types:
            of_type = found.get(resource, {})
            self._scopes[resource] = readable(of_type, workspace, self.defaults)

    def scope(self, resource: Resource) -> Scope | None:
        """See `Access.scope`."""
        if self.is_admin or self.is_workspace_admin:
            return None
        return self._scopes[resource]

    def hides(self, resource: Resource) -> bool:
        """See `Access.hides`."""
        if self.is_admin or self.is_workspace_admin:
            return False
        return resource in self._account.denied

    async def undenied(self, resource: Resource, ids: Iterable[str]) -> frozenset[str]:
        """See `Access.undenied`."""
        named = tuple(dict.fromkeys(ids))
        if self.is_admin or self.is_workspace_admin or not named:
            return frozenset(named)
        return await self._authority.undenied(self, self._account, resource, named)

    async def admit(self, rule: Rule, req: Any) -> Access:
        """See `Access.admit`."""
        if not self._authority.checks_graphql:
            return UNRESTRICTED
        return await self._authority.admit(rule, self._caller, req, self.in_workspace)

    async def require(self, rule: Rule, req: Any) -> None:
        """See `Access.require`."""
        await self._authority.admit(rule, self._caller, req, self.in_workspace)

    async def permits(self, rule: Rule, req: Any) -> bool:
        """See `Access.permits`."""
        try:
            await self._authority.admit(rule, self._caller, req, self.in_workspace)
        except Denied:
            return False
        return True
