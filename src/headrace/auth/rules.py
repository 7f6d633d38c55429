"""What each route demands of its caller: the `rule` column of the route table. No I/O.

A rule names resources and where the request holds their ids; who has which grant is decided elsewhere. The
rules are those of MLflow's basic-auth app, except that ids come from the decoded request that the handler
acts on, never from another reading of it.

Terms: a grant names a resource type, an id or `*`, and a level. An action is allowed by the levels that
include it. A type without ids of its own (`run`, `trace` …) has grants for `*` only; where no grant of that
type speaks, the grant of the experiment or of the registered model decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Resource = Literal[
    "artifact",  # a path of the artifact store; belongs to the run, model, trace or experiment in it
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
    "model_source",  # the run, logged model or registered model in the URI that a version is made from
    "registered_model",  # or prompt, as its tag says
    "registered_model_version",
    "review_queue",
    "run",
    "scorer",
    "scorer_version",
    "trace",
    "webhook",
    "workspace",
]
# `own`: the caller made it. `undenied`: no grant denies the type; having none will do.
Action = Literal["read", "use", "update", "delete", "manage", "create", "undenied", "own"]


@dataclass(frozen=True, slots=True)
class Need:
    """One condition: an action on the resources that a request names.

    `ids` is where the request holds them: a field, alternatives (`run_id|run_uuid`: the first that is set),
    a field of each item (`metrics[].model_id`), or each of a list (`experiment_ids[]`). None: the type as a whole.
    `instead` is the type whose grant decides where no grant of `resource` speaks, `instead_action` the
    action it must allow (by default the same).
    """

    resource: Resource
    action: Action
    ids: str | None = None
    instead: Resource | None = None
    instead_action: Action | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """A condition with the id of one request in it. `id` is `*` for the type as a whole."""

    resource: Resource
    action: Action
    id: str
    instead: Resource | None = None
    instead_action: Action | None = None


class Rule:
    """A row of the route table has exactly one."""

    __slots__ = ()

    def demands(self, *sources: Any) -> Iterator[Demand]:
        """The conditions of one request: all must hold. `sources` are its Struct, or mappings of its fields."""
        return iter(())


class Open(Rule):
    """Anybody, logged in or not."""

    __slots__ = ()


class Anyone(Rule):
    """Whoever is logged in."""

    __slots__ = ()


class Admin(Rule):
    """Admins only."""

    __slots__ = ()


class Needs(Rule):
    """Whoever meets every condition."""

    __slots__ = ("needs",)

    def __init__(self, *needs: Need) -> None:
        assert needs, "a rule without conditions is Anyone"
        self.needs = needs

    def demands(self, *sources: Any) -> Iterator[Demand]:
        """See `Rule.demands`."""
        for need in self.needs:
            if need.ids is None:
                yield Demand(need.resource, need.action, "*", need.instead, need.instead_action)
                continue
            for id_ in values(need.ids, *sources):
                yield Demand(need.resource, need.action, id_, need.instead, need.instead_action)


class Scoped(Needs):
    """Whoever is logged in and meets the conditions; the answer holds only rows that the caller may read.

    `rows` is the resource type whose grants filter the rows inside the query, so that pages are full.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: Resource, *needs: Need) -> None:
        self.needs = needs
        self.rows = rows


OPEN: Final = Open()
ANYONE: Final = Anyone()
ADMIN: Final = Admin()


def needs(*conditions: Need) -> Needs:
    """All of the conditions."""
    return Needs(*conditions)


def scoped(rows: Resource, *conditions: Need) -> Scoped:
    """Rows of that type that the caller may read, if the conditions hold."""
    return Scoped(rows, *conditions)


def experiment(action: Action, ids: str = "experiment_id") -> Need:
    """An action on experiments."""
    return Need("experiment", action, ids)


def run(action: Action, ids: str = "run_id|run_uuid") -> Need:
    """The experiment of each run may be read, and the action is allowed on runs, else on the experiment."""
    return Need("run", action, ids, "experiment")


def logged_model(action: Action, ids: str = "model_id") -> Need:
    """As `run`, for logged models."""
    return Need("logged_model", action, ids, "experiment")


def trace(action: Action, ids: str = "trace_id|request_id") -> Need:
    """As `run`, for traces."""
    return Need("trace", action, ids, "experiment")


def assessment(action: Action, instead_action: Action | None = None) -> Need:
    """The experiment of the trace may be read, and the action is allowed on assessments, else on the experiment."""
    return Need("assessment", action, "trace_id", "experiment", instead_action)


def model(action: Action, ids: str = "name") -> Need:
    """An action on registered models or prompts."""
    return Need("registered_model", action, ids)


def version(action: Action, ids: str = "name") -> Need:
    """The model may be read, and the action is allowed on its versions, else on the model."""
    return Need("registered_model_version", action, ids, "registered_model")


def artifact(action: Action, ids: str = "artifact_path") -> Need:
    """The action is allowed on what a path of the artifact store belongs to.

    The id is the path as the client wrote it; `storage.paths.of_object` reads it as the handlers do.
    """
    return Need("artifact", action, ids)


def every(resource: Resource, action: Action, instead: Resource, ids: str) -> Need:
    """The action is allowed on all of a type, else on the resource of another type that `ids` names."""
    return Need(resource, action, ids, instead)


def undenied(resource: Resource) -> Need:
    """No grant denies the type."""
    return Need(resource, "undenied")


def create(resource: Resource) -> Need:
    """A resource of that type may be made in the workspace."""
    return Need(resource, "create")


def values(path: str, *sources: Any) -> Iterator[str]:
    """The texts at `path` (see `Need.ids`) in the first source that has them, without empty ones."""
    head, many, rest = path.partition("[]")
    for name in head.split("|"):
        found = next(filter(None, (_field(source, name) for source in sources)), None)
        if found is None:
            continue
        if not many:
            yield str(found)
        elif rest:
            for item in found:
                yield from values(rest.removeprefix("."), item)
        else:
            yield from map(str, found)
        return


def _field(source: Any, name: str) -> Any:
    if isinstance(source, Mapping):
        return source.get(name)
    return getattr(source, name, None)
