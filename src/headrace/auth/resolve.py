"""Turns the conditions of a rule into requirements on grants: finds the experiment or model of each id.

An id means what the handler makes of it: experiment ids are numbers however they are written, and a
path of the artifact store is decoded and normalized first.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from headrace.auth.authority import Denied
from headrace.auth.decide import (
    DEFAULT,
    NO_REQUIREMENTS,
    WILDCARD,
    WORKSPACE,
    Either,
    Plan,
    Step,
)
from headrace.auth.grantable import canonical
from headrace.auth.owners_sql import OwnerKeys, Owners, find
from headrace.auth.present_sql import present
from headrace.contract.errors import (
    ApiError,
    label_schema_not_found,
    not_found,
    review_queue_not_found,
    run_not_found,
)
from headrace.db.workspace import DatabaseIn
from headrace.storage import paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from headrace.auth.decide import Requirement
    from headrace.auth.owners_sql import Queue
    from headrace.auth.rules import Action, Demand, Ids, Rule
    from headrace.db.base import Database, Tx

MAX_KNOWN_RUNS: Final = 32_768  # about 250 bytes each
MAX_PLANS: Final = 8_192  # about 1 KiB each
MAX_PLAN_DEMANDS: Final = 4  # a longer list of ids is rarely repeated
LONGEST_PLANNED_ID: Final = 64  # characters; clients choose ids
# What the ids of these belong to is the same as long as they exist.
_NEVER_CHANGE: Final = frozenset({"run", "experiment"})
_EXPERIMENT: Final = re.compile(r"(?:workspaces/[^/]+/)?(\d+)/")
_HOLDS_EXPERIMENTS: Final = re.compile(r"|workspaces(?:/[^/]+)?")
_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
_FOLDERS: Final = {"models": "logged_model", "traces": "trace"}
_PARTS: Final = ("run", "trace", "logged_model")
# Types whose ids must exist in the workspace of the request, except where `undenied` is enough.
_IN_WORKSPACES: Final = frozenset(
    {"gateway_secret", "gateway_endpoint", "gateway_model_definition", "scorer"}
)


class Resolver:
    """Finds what the ids of requests belong to, in the tracking database."""

    def __init__(self, tracking: Database) -> None:
        self._tracking = tracking
        # The experiment of a run never changes.
        self._runs: OrderedDict[str, str] = OrderedDict()
        # The requirements of frequent requests, such as log-batch to one run, by the rule and ids.
        self._plans: dict[tuple[Rule, Ids, str | None], Plan] = {}

    def known(self, rule: Rule, ids: Ids, workspace: str | None) -> Plan | None:
        """The plan of all conditions of a request, if `plan` kept it."""
        return self._plans.get((rule, ids, workspace))

    async def plan(
        self,
        demands: tuple[Demand, ...],
        username: str,
        workspace: str | None,
        rule: Rule | None = None,
        ids: Ids | None = None,
    ) -> Plan:
        """The requirements of a request of this user, all of which the grants must meet.

        `workspace` is that of the request, None on a server without workspaces. With a rule and what
        its conditions depend on (`Rule.ids`), `demands` are all of them.

        Raises `Denied` for an id of a run, logged model, trace or version that does not exist, and
        RESOURCE_DOES_NOT_EXIST where MLflow reports it.
        """
        if not demands:
            return NO_REQUIREMENTS
        owners = await self._owners(demands, workspace)
        if workspace is not None and (wanted := _named(demands)):
            await DatabaseIn(self._tracking, workspace).read_point(_check_present, wanted)
        found = tuple(
            found
            for demand in demands
            for found in requirements(demand, owners, username, workspace)
        )
        plan = Plan(found, creators(demands, owners))
        is_lasting = len(demands) <= MAX_PLAN_DEMANDS and all(map(_is_lasting, demands))
        if rule is not None and ids is not None and is_lasting:
            if len(self._plans) >= MAX_PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[rule, ids, workspace] = plan
        return plan

    async def _owners(self, demands: Sequence[Demand], workspace: str | None) -> Owners:
        ids: dict[str, list[str]] = {}
        for demand in demands:
            if demand.id is not None:
                ids.setdefault(demand.named, []).append(demand.id)
        runs: dict[str, str] = {}
        unknown = []
        for run_id in ids.get("run", ()):
            experiment_id = self._runs.get(run_id)
            if experiment_id is None:
                unknown.append(run_id)
            else:
                self._runs.move_to_end(run_id)
                runs[run_id] = experiment_id
        wanted = OwnerKeys(
            unknown,
            ids.get("logged_model", ()),
            ids.get("trace", ()),
            ids.get("experiment_name", ()),
            [*ids.get("registered_model", ()), *ids.get("existing_model", ())],
            ids.get("evaluation_dataset", ()),
            ids.get("issue", ()),
            ids.get("label_schema", ()),
            ids.get("job", ()),
            ids.get("endpoint_name", ()),
            ids.get("guardrail", ()),
            ids.get("online_scorer", ()),
            ids.get("review_queue", ()),
            ids.get("queue_name", ()),
            [id_.partition("/")[0] for id_ in ids.get("endpoint_experiment", ())],
        )
        if not any(wanted):
            return Owners(runs, {}, {}, {}, {})
        wanted = OwnerKeys(*([id_ for id_ in some if "\0" not in id_] for some in wanted))
        db: Database = self._tracking
        if workspace is not None:
            db = DatabaseIn(db, workspace)
        found = await db.read_point(find, wanted)
        self._remember(found.runs)
        return found._replace(runs=runs | dict(found.runs))

    def _remember(self, runs: Mapping[str, str]) -> None:
        self._runs.update(runs)
        while len(self._runs) > MAX_KNOWN_RUNS:
            self._runs.popitem(last=False)


def _named(demands: Iterable[Demand]) -> dict[str, set[str]]:
    """The ids that must exist in the workspace of the request, by type."""
    found: dict[str, set[str]] = {}
    for demand in demands:
        named = named_in_workspace(demand)
        if named is not None:
            found.setdefault(named[0], set()).add(named[1])
    return found


async def _check_present(tx: Tx, wanted: Mapping[str, set[str]]) -> None:
    """Raise `Denied` unless these ids exist in the workspace of the transaction.

    On a server with workspaces nobody has a level on anything else, not even their admins.
    """
    for resource_type, ids in wanted.items():
        if not ids <= await present(tx, resource_type, ids):
            raise Denied


def named_in_workspace(demand: Demand) -> tuple[str, str] | None:
    """The type and id of what must exist in the workspace; None if the condition names no such thing."""
    if demand.id is None or demand.action == "undenied":
        return None
    match demand.named:
        case "experiment":
            return "experiment", canonical(demand.id)
        case "model_name":
            return "registered_model", demand.id
        case "artifact" | "artifact_tree":
            experiment_id = experiment_of_path(demand.id)
            return None if experiment_id is None else ("experiment", experiment_id)
        case named if named in _IN_WORKSPACES:
            return named, demand.id
    return None


def _is_lasting(demand: Demand) -> bool:
    """Whether the requirements of a condition are the same in the next request, and short."""
    id_ = demand.id
    return id_ is None or (demand.named in _NEVER_CHANGE and len(id_) <= LONGEST_PLANNED_ID)


def requirements(
    demand: Demand, owners: Owners, username: str, workspace: str | None = None
) -> Iterator[Requirement]:
    """The requirements of one condition for a user. Raises as `Resolver.plan`.

    `workspace` is that of the request, None on a server without workspaces.
    """
    action, id_ = demand.action, demand.id
    if action == "own":  # `creators` tells
        return
    if action == "create":
        if workspace is not None:  # elsewhere everyone may create
            yield (Step(WORKSPACE, WILDCARD, action),)
        return
    if id_ is None:
        yield (Step(demand.resource, WILDCARD, action),)
        return
    match demand.named:
        case "artifact" | "artifact_tree":
            is_tree = demand.named == "artifact_tree"
            yield from of_path(id_, action, tree=is_tree, workspace=workspace)
        case "run" | "logged_model" | "trace":
            experiment_id = _experiment_of(demand, id_, owners)
            yield (Step("experiment", experiment_id, "read"),)
            yield _part_of(experiment_id, demand)
        case "experiment":
            yield _of_experiment(canonical(id_), demand)
        case "experiment_name":
            if id_ not in owners.experiment_names:
                raise not_found(f"Could not find experiment with name {id_}")
            yield _of_experiment(owners.experiment_names[id_], demand)
        case "registered_model" | "existing_model":
            yield from _of_model(id_, demand, owners, must_exist=workspace is not None)
        case "model_name":
            yield (Step(demand.resource, id_, action),)
        case _:
            yield from _of_evaluation(id_, demand, owners, username)


def _of_evaluation(
    id_: str, demand: Demand, owners: Owners, username: str
) -> Iterator[Requirement]:
    match demand.named:
        case "issue" | "label_schema" | "job":
            yield (Step("experiment", _experiment_of(demand, id_, owners), demand.action),)
        case "evaluation_dataset":
            yield from _of_dataset(id_, demand.action, owners)
        case "online_scorer":
            for experiment_id in owners.online_scorers.get(id_, ()):
                yield (Step("experiment", experiment_id, demand.action),)
        case "scorer":
            yield _of_scorer(id_, demand)
        case "review_queue" | "queue_name":
            yield from _of_queue(id_, demand, owners, username)
        case _:
            yield from _of_gateway(id_, demand, owners)


def _of_gateway(id_: str, demand: Demand, owners: Owners) -> Iterator[Requirement]:
    action = demand.action
    match demand.named:
        case "gateway_secret" | "gateway_model_definition" | "gateway_endpoint":
            yield (Step(demand.resource, id_, action),)
        case "endpoint_name":
            if id_ not in owners.endpoint_names:
                raise not_found(f"GatewayEndpoint not found (name='{id_}')")
            yield (Step("gateway_endpoint", owners.endpoint_names[id_], action),)
        case "endpoint_experiment":
            endpoint_id, _, named = id_.partition("/")
            experiment_id = canonical(named)
            if owners.endpoint_experiments.get(endpoint_id) == experiment_id:
                action = "undenied"  # it stays the same
            yield (Step("experiment", experiment_id, action),)
        case "guardrail":
            if id_ not in owners.guardrails:
                raise Denied
            scorer = Step("scorer", owners.guardrails[id_], action)
            yield (scorer,)
            yield Step("scorer_version", WILDCARD, action), scorer
        case other:
            raise NotImplementedError(f"no grants are looked up for {other}")


def creators(demands: Iterable[Demand], owners: Owners) -> frozenset[str]:
    """The users to whom belongs what must be the caller's own. Raises `Denied` if it is nobody's."""
    found = set()
    for demand in demands:
        if demand.action == "own":
            owner = owners.jobs.get(demand.id or "")
            if owner is None or owner.creator is None:
                raise Denied
            found.add(owner.creator)
    return frozenset(found)


def _of_experiment(experiment_id: str, demand: Demand) -> Requirement:
    if demand.resource == "experiment":
        return (Step("experiment", experiment_id, demand.action),)
    return _part_of(experiment_id, demand)


def _part_of(experiment_id: str, demand: Demand) -> Requirement:
    own = Step(demand.resource, WILDCARD, demand.action)
    instead = Step("experiment", experiment_id, demand.instead_action or demand.action)
    return Either(((own,), (instead,))) if demand.either else (own, instead)


def _experiment_of(demand: Demand, id_: str, owners: Owners) -> str:
    known: Mapping[str, Mapping[str, str]] = {
        "run": owners.runs,
        "logged_model": owners.logged_models,
        "trace": owners.traces,
        "issue": owners.issues,
        "label_schema": owners.label_schemas,
        "job": {
            job_id: canonical(owner.experiment_id)
            for job_id, owner in owners.jobs.items()
            if owner.experiment_id is not None
        },
    }
    found = known[demand.named].get(id_)
    if found is not None:
        return found
    if not demand.tells_unknown:
        raise Denied
    raise run_not_found(id_) if demand.named == "run" else label_schema_not_found(id_)


def _of_dataset(dataset_id: str, action: Action, owners: Owners) -> Iterator[Requirement]:
    if dataset_id not in owners.datasets:
        raise Denied
    for experiment_id in owners.datasets[dataset_id]:
        yield (Step("experiment", canonical(experiment_id), action),)


def _of_scorer(id_: str, demand: Demand) -> Requirement:
    instead = Step("scorer", id_, demand.instead_action or demand.action)
    if demand.resource == "scorer":
        return (instead,)
    return Step(demand.resource, WILDCARD, demand.action), instead


def _of_queue(
    queue_id: str, demand: Demand, owners: Owners, username: str
) -> Iterator[Requirement]:
    queue = owners.queues.get(queue_id)
    if queue is not None:
        experiment_id, action = queue.experiment_id, _on_queue(demand.action, queue, username)
    elif demand.tells_unknown:
        raise review_queue_not_found(queue_id)
    else:  # a name: the handler reports it
        experiment_id, action = queue_id.partition("/")[0], "read"
    yield (Step("experiment", experiment_id, "read"),)
    yield _part_of(experiment_id, demand._replace(action=action))


def _on_queue(action: Action, queue: Queue, username: str) -> Action:
    """The action on all review queues that this action on one of them requires. Raises `Denied`."""
    if action == "review":
        if not queue.has_member(username):
            raise Denied
        return "update"
    if action == "open" and queue.has_member(username):
        return "read"
    if action in ("open", "configure", "prune"):
        is_exempt = queue.is_owned_by(username) and (action != "prune" or queue.type == "custom")
        return "update" if is_exempt else "manage"
    return action


def _of_model(
    name: str, demand: Demand, owners: Owners, *, must_exist: bool
) -> Iterator[Requirement]:
    is_prompt = owners.models.get(name)
    kind = "prompt" if is_prompt else "registered_model"
    must_exist |= demand.resource != "registered_model" or demand.named == "existing_model"
    if is_prompt is None and must_exist:
        raise Denied
    if demand.resource == "registered_model":
        yield (Step(kind, name, demand.action),)
        return
    own = Step(f"{kind}_version", WILDCARD, demand.action)
    if demand.instead is None:
        yield (own,)
        return
    if demand.action != "undenied":
        yield (Step(kind, name, "read"),)
    yield own, Step(kind, name, demand.instead_action or demand.action)


def experiment_of_path(path: str) -> str | None:
    """The experiment whose directory contains a path of the artifact store. Raises `Denied`."""
    found = _EXPERIMENT.match(f"{_plain(path)}/")
    return None if found is None else canonical(found[1])


def _plain(path: str) -> str:
    try:
        return paths.normal(paths.of_object(path))
    except ApiError as error:
        raise Denied from error


def of_path(
    path: str, action: Action, *, tree: bool = False, workspace: str | None = None
) -> Iterator[Requirement]:
    """The requirements for a path of the artifact store. Raises `Denied` for an unsafe one.

    An experiment's directory holds the files of its runs, logged models and traces. Deleting
    a directory (`manage`) deletes everything in it. `tree`: the action concerns everything below
    the path, and a directory that holds experiments is `Denied`, as is that of another workspace. On
    a server with workspaces, the grants on the workspace decide about paths of no experiment.
    """
    plain = _plain(path)
    if tree and workspace is not None and not _is_within(plain, workspace):
        raise Denied
    found = _EXPERIMENT.match(f"{plain}/")
    if tree and _HOLDS_EXPERIMENTS.fullmatch(plain):
        raise Denied
    if found is None:
        is_open = workspace is None
        yield (Step(DEFAULT, "", action) if is_open else Step(WORKSPACE, WILDCARD, action),)
        return
    experiment_id = found[1]
    parts = _parts_below(plain[found.end() :].split("/"), everything=tree or action == "manage")
    if not parts:
        yield (Step("experiment", experiment_id, action),)
        return
    yield (Step("experiment", experiment_id, "read"),)
    for part in parts:
        yield Step(part, WILDCARD, action), Step("experiment", experiment_id, action)


def _is_within(plain: str, workspace: str) -> bool:
    """Whether a path of the store belongs to the workspace, if its experiment does."""
    try:
        return _EXPERIMENT.match(f"{plain}/") is not None or (
            paths.in_workspace(plain, workspace) == plain
        )
    except ApiError:
        return False


def _parts_below(segments: Sequence[str], *, everything: bool) -> Sequence[str]:
    """The types that a path below an experiment's directory belongs to; none: to the experiment."""
    if segments == [""]:
        return _PARTS if everything else ()
    if segments[0] in _FOLDERS:
        return (_FOLDERS[segments[0]],)
    if segments[1:2] == ["artifacts"] or _RUN_ID.fullmatch(segments[0]):
        return ("run",)
    return ("run",) if everything else ()
