"""The `rule` column of the route table: the permissions that a route requires. No I/O.

A rule names resources and the fields of the request that hold their ids. It does not look up the
caller's grants. The rules are those of MLflow's basic-auth app, except that ids always come from
the decoded request that the handler gets, never from a second parsing of it.

Terms: a grant has a resource type, an id or `*`, and a level. A level allows the actions that it
includes. Types such as `run` and `trace` have grants for `*` only; if the caller has no grant for
the type, the grant for the experiment or registered model decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from headrace.auth.authority import Denied
from headrace.contract.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from headrace.auth.access import Access
    from headrace.db.base import Tx

    # Whether the caller may make the request. Runs in a read of the users' database.
    Judge = Callable[[Tx, Access, Any], Awaitable[bool]]

Resource = Literal[
    "artifact",  # a path of the artifact store; belongs to the resource that the path names
    "assessment",
    "experiment",
    "gateway_endpoint",
    "gateway_model_definition",
    "gateway_secret",
    "evaluation_dataset",  # belongs to every experiment that it is linked to
    "issue",  # belongs to its experiment
    "job",  # belongs to the user who submitted it
    "label_schema",  # belongs to its experiment
    "logged_model",
    "mcp_server",
    "mcp_server_version",
    "prompt",  # only for `Access`: rules say `registered_model`
    "prompt_version",  # only for `Access`: rules say `registered_model_version`
    "registered_model",  # in rules: or a prompt, according to its stored tag
    "registered_model_version",  # in rules: or a version of a prompt
    "review_queue",  # belongs to its experiment
    "run",
    "scorer",  # `grantable.scorer_id`
    "scorer_version",
    "trace",
    "webhook",
    "workspace",
]
# The type that the ids of a condition name, if it is not that of the resource.
Named = (
    Resource
    | Literal[
        "experiment_name",
        "endpoint_name",  # a gateway endpoint by its name; one that does not exist is a 404
        "guardrail",  # the scorer that it runs decides; one that does not exist is refused
        "artifact_tree",  # a path of the artifact store, with all that is below it
        "endpoint_experiment",  # the experiment that an endpoint is given: `ENDPOINT/EXPERIMENT`
        "existing_model",  # a registered model or prompt; one that does not exist is refused
        "model_name",  # grants for `resource` decide, whether the model is a prompt or not
        "online_scorer",  # belongs to the experiments in which it scores traces
        "queue_name",  # a review queue by its experiment and name: `queue_names`
    ]
)
MAX_IDS: Final = 4  # of a condition; a longer list is rarely repeated
# `own`: the caller created it. `undenied`: no grant denies the type; no grant at all is enough.
# `open`, `configure`, `prune` and `review`: of a review queue, whose owner and members need less.
Action = Literal[
    "read", "use", "update", "delete", "manage", "create", "undenied", "own",
    "open", "configure", "prune", "review",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Need:
    """One condition: an action on the resources of a request.

    `ids` is the path of their ids in the request: a field, the first set one of several fields
    (`run_id|run_uuid`), a field of each item (`metrics[].model_id`), a field of a field
    (`place.experiment_id`) or each item (`experiment_ids[]`). None stands for the whole type. The
    ids name resources of the type `named`, by default `resource`. If the caller has no grant for
    `resource`, the grant for the type `instead` must allow `instead_action`, by default the same action.

    `ids` may also be a function of the request. A request without ids has no condition, unless
    `default` is its id or `missing` is the message of its error. `when` tells from a request
    whether the condition applies. `required`: a request without ids is a 403. `tells_unknown`: an
    id that does not exist is a 404 instead of a 403. `either`: the grants for `resource` or those
    for `instead` must allow it, whichever there are.
    """

    resource: Resource
    action: Action
    ids: str | Callable[[Any], Iterable[str]] | None = None
    instead: Resource | None = None
    instead_action: Action | None = None
    named: Named | None = None
    when: Callable[[Any], bool] | None = None
    default: str | None = None
    missing: str | None = None
    tells_unknown: bool = False
    required: bool = False
    either: bool = False

    def demands(self, *sources: Any) -> Iterator[Demand]:
        """Yield the conditions of one request.

        Raises INVALID_PARAMETER_VALUE (`missing`) and `Denied` (`required`).
        """
        if self.when is not None and not self.when(sources[0]):
            return
        if self.ids is None:
            yield self.demand(None)
            return
        ids = self.ids(sources[0]) if callable(self.ids) else values(self.ids, *sources)
        found = False
        for id_ in ids:
            found = True
            yield self.demand(id_)
        if found:
            return
        if self.missing is not None:
            raise invalid(self.missing)
        if self.required:
            raise Denied
        if self.default is not None:
            yield self.demand(self.default)

    def demand(self, id_: str | None) -> Demand:
        """The condition for one id, or for the whole type."""
        return Demand(
            self.resource,
            self.action,
            id_,
            self.instead,
            self.instead_action,
            self.named or self.resource,
            self.tells_unknown,
            self.either,
        )


class Demand(NamedTuple):
    """A condition with the id from one request. `id` is None for the whole type."""

    resource: Resource
    action: Action
    id: str | None
    instead: Resource | None
    instead_action: Action | None
    named: Named
    tells_unknown: bool = False
    either: bool = False


# All that the conditions of a request depend on: the ids of each, None if it does not apply.
Ids = tuple[tuple[str, ...] | None, ...]


class Rule:
    """The permissions that a route requires. Every row of the route table has one."""

    __slots__ = ()

    def ids(self, req: Any) -> Ids | None:
        """Equal for requests with equal conditions; None if there are many or the rule does not know."""
        return () if type(self).demands is Rule.demands else None

    def demands(self, *sources: Any) -> Iterator[Demand]:
        """Yield the conditions of one request, which must all hold.

        `sources` are its Struct, or mappings of its fields. Raises INVALID_PARAMETER_VALUE.
        """
        return iter(())


class Open(Rule):
    """Everyone, with or without login."""

    __slots__ = ()


class Anyone(Rule):
    """Every logged-in user."""

    __slots__ = ()


class Metrics(Anyone):
    """Every logged-in user, and whoever sends the token for `/metrics`."""

    __slots__ = ()


class Admin(Rule):
    """Only admins."""

    __slots__ = ()


class Unruled(Rule):
    """Only admins, unless a setting allows routes for which MLflow has no rule."""

    __slots__ = ()


class Undecoded(Rule):
    """The part of another rule that can be checked on a request that could not be decoded.

    MLflow checks its rules first, so a request that is not valid is 403 if it is not allowed either.
    """

    __slots__ = ("_needs",)

    def __init__(self, rule: Needs) -> None:
        self._needs = [need for need in rule.needs if need.when is None and not callable(need.ids)]

    def demands(self, *sources: Any) -> Iterator[Demand]:
        """See `Rule.demands`; `sources` are mappings of any JSON values."""
        for need in self._needs:
            yield from need.demands(*sources)


class Needs(Rule):
    """Users for whom every condition holds."""

    __slots__ = ("needs",)

    def __init__(self, *needs: Need) -> None:
        assert needs, "a rule without conditions is Anyone"
        self.needs = needs

    def ids(self, req: Any) -> Ids | None:
        """See `Rule.ids`."""
        if type(self).demands is not Needs.demands:
            return None
        found: list[tuple[str, ...] | None] = []
        for need in self.needs:
            if need.when is not None and not need.when(req):
                found.append(None)
            elif need.ids is None:
                found.append(())
            elif callable(need.ids):
                return None
            else:
                ids = tuple(islice(values(need.ids, req), MAX_IDS + 1))
                # `demands` refuses a request without ids, before it looks at later conditions.
                if len(ids) > MAX_IDS or (not ids and (need.required or need.missing is not None)):
                    return None
                found.append(ids)
        return tuple(found)

    def demands(self, *sources: Any) -> Iterator[Demand]:
        """See `Rule.demands`."""
        for need in self.needs:
            yield from need.demands(*sources)


class Scoped(Needs):
    """Users for whom every condition holds; the answer contains only rows that the caller may read.

    The query filters the rows by the grants for the resource type `rows`, so pages are full. It
    finds nothing, and is not refused, if a grant denies the type of the rows (`Access.hides`).
    """

    __slots__ = ("among", "rows")

    def __init__(self, rows: Resource, *needs: Need, among: str | None = None) -> None:
        """`among`: the path (`Need.ids`) of the ids to which a request limits the search.

        Then only the grants for these ids are read, and a scope says nothing about others.
        """
        self.needs = needs
        self.rows = rows
        self.among = among


class Judged(Rule):
    """Users whom `judge(tx, access, req)` admits: the routes of users, roles and grants.

    `tx` is a read of the database that has the users. The judge may raise ApiError. Admins are
    admitted without it.
    """

    __slots__ = ("judge",)

    def __init__(self, judge: Judge) -> None:
        self.judge = judge


OPEN: Final = Open()
ANYONE: Final = Anyone()
METRICS: Final = Metrics()
ADMIN: Final = Admin()
UNRULED: Final = Unruled()


def needs(*conditions: Need) -> Needs:
    """Require every condition."""
    return Needs(*conditions)


def scoped(rows: Resource, *conditions: Need, among: str | None = None) -> Scoped:
    """Require every condition, and restrict the answer to the rows that the caller may read."""
    return Scoped(rows, *conditions, among=among)


def missing(name: str) -> str:
    """MLflow's message for a request without a field that its rule names."""
    return (
        f"Missing value for required parameter '{name}'. "
        "See the API docs for more information about request parameters."
    )


def experiment(action: Action, ids: str = "experiment_id") -> Need:
    """Require the action on the experiments."""
    return Need("experiment", action, ids)


RUN: Final = "run_id|run_uuid"


def run(action: Action, ids: str = RUN) -> Need:
    """Require reading the experiment of each run, and the action on runs or else on that."""
    return Need(
        "run", action, ids, "experiment", missing=missing("run_uuid") if ids == RUN else None
    )


def logged_model(action: Action, ids: str = "model_id") -> Need:
    """As `run`, for logged models."""
    return Need("logged_model", action, ids, "experiment")


def trace(action: Action, ids: str = "trace_id|request_id") -> Need:
    """As `run`, for traces."""
    return Need("trace", action, ids, "experiment")


def assessment(action: Action, instead_action: Action | None = None) -> Need:
    """Require reading the trace's experiment, and the action on assessments or else on that."""
    return Need("assessment", action, "trace_id", "experiment", instead_action, named="trace")


def dataset(action: Action) -> Need:
    """Require the action on every experiment that an evaluation dataset is linked to, of which there must be one."""
    return Need("evaluation_dataset", action, "dataset_id", "experiment")


def job(ids: str = "job_id") -> Need:
    """Require that the caller started the job. One that does not exist is refused."""
    return Need("job", "own", ids)


def part_of_experiment(resource: Resource, action: Action, ids: str = "issue_id") -> Need:
    """Require the action on the experiment of an issue, a label schema or a job that has one.

    As in stock, a label schema that does not exist is a 404, an issue is a 403.
    """
    tells = resource == "label_schema"
    return Need("experiment", action, ids, named=resource, tells_unknown=tells)


def gateway_endpoint(action: Action) -> Need:
    """Require the action on an endpoint of the AI gateway, also on an id that none has."""
    return Need("gateway_endpoint", action, "endpoint_id", default="")


def guardrail_scorer() -> Need:
    """Require that no grant denies the scorer of a guardrail, or its versions.

    A guardrail that does not exist is refused.
    """
    return Need("scorer", "undenied", "guardrail_id", named="guardrail")


def model(action: Action, ids: str = "name") -> Need:
    """Require the action on registered models or prompts."""
    return Need("registered_model", action, ids)


def version(action: Action, ids: str = "name") -> Need:
    """Require reading the model, and the action on its versions or else on the model.

    A model that does not exist is refused. The type is prompt_version for a prompt.
    """
    return Need(
        "registered_model_version", action, ids, "registered_model", named="registered_model"
    )


def versions_undenied(ids: str = "name") -> Need:
    """Require that the model exists, and that no grant denies the type of its versions."""
    return Need("registered_model_version", "undenied", ids, named="registered_model")


def artifact(action: Action, ids: str | Callable[[Any], Iterable[str]] = "artifact_path") -> Need:
    """Require the action on the owner of a path in the artifact store, by default of its root.

    The id is the path as the client sent it; it is decoded as the handlers do it.
    """
    return Need("artifact", action, ids, default="")


def every(resource: Resource, action: Action, instead: Resource, ids: str) -> Need:
    """Require the action on the whole type, or else on the resources `ids` of type `instead`."""
    return Need(resource, action, ids, instead, named=instead)


def required(need: Need) -> Need:
    """The condition, for requests that must have an id."""
    return replace(need, required=True)


def undenied(resource: Resource, when: Callable[[Any], bool] | None = None) -> Need:
    """Require that no grant denies the type, for the requests for which `when` is true."""
    return Need(resource, "undenied", when=when)


def undenied_name(resource: Resource, when: Callable[[Any], bool]) -> Need:
    """Require that no grant denies the type or the name of a model that the request creates."""
    return Need(resource, "undenied", "name", named="model_name", when=when)


def create(resource: Resource) -> Need:
    """Require that the caller may create a resource of that type in the workspace."""
    return Need(resource, "create")


def values(path: str, *sources: Any) -> Iterable[str]:
    """The non-empty texts at `path` (see `Need.ids`) in the first source that has them."""
    names, many, rest = _parsed(path)
    for name in names:
        for source in sources:
            found = _field(source, name)
            if not found:
                continue
            if not many:
                return (str(found),)
            items = found if isinstance(found, list | tuple) else (found,)
            if not rest:
                return tuple(map(str, items))
            # `rest` is a field of each item; lazy, because there may be tens of thousands.
            return (str(id_) for item in items if (id_ := _field(item, rest)))
    return ()


@lru_cache(maxsize=256)  # the rules of all routes have fewer
def _parsed(path: str) -> tuple[tuple[str, ...], str, str]:
    head, many, rest = path.partition("[]")
    return tuple(head.split("|")), many, rest.removeprefix(".")


def _field(source: Any, path: str) -> Any:
    """The field at a path of names with dots between them; None if one of them is missing."""
    if "." in path:
        for name in path.split("."):
            source = _field(source, name)
        return source
    return source.get(path) if isinstance(source, dict) else getattr(source, path, None)
