"""Ids of other workspaces in a request: each is replaced by an id that does not exist.

So every route treats them as ids that do not exist: with its own error, in its own order of checks,
and searches and batches leave them out inside their queries. Ids are found by the names of fields.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import typing
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from headrace.auth.foreign_sql import find
from headrace.commit.reads import GatheredReads
from headrace.contract.errors import not_found
from headrace.contract.experiment_ids import MAX_ID, MIN_ID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from headrace.auth.foreign_sql import Key, Kind
    from headrace.db.base import Database

# The kind of the ids in each field, which has one id or a list of them.
FIELDS: Final[Mapping[str, Kind]] = {
    "action_endpoint_id": "endpoint",
    "budget_policy_id": "budget_policy",
    "dataset_id": "dataset",
    "endpoint_id": "endpoint",
    "experiment_id": "experiment",
    "experiment_ids": "experiment",
    "guardrail_id": "guardrail",
    "issue_id": "issue",
    "item_id": "trace",
    "item_ids": "trace",
    "job_id": "job",
    "model_definition_id": "model_definition",
    "model_id": "logged_model",
    "queue_id": "review_queue",
    "request_id": "trace",
    "request_ids": "trace",
    "run_id": "run",
    "run_ids": "run",
    "run_uuid": "run",
    "schema_id": "label_schema",
    "schema_ids": "label_schema",
    "scorer_id": "scorer",
    "scorer_ids": "scorer",
    "secret_id": "secret",
    "source_run_id": "run",
    "trace_id": "trace",
    "trace_ids": "trace",
    "webhook_id": "webhook",
}
PORTION: Final = 1000  # ids that are looked up together
# Stock's messages for ids that the workspace does not have.
MESSAGES: Final[Mapping[Kind, str]] = {
    "dataset": "Dataset '{}' not found.",
    "run": "Run with id={} not found",
    "trace": "Trace with ID '{}' not found.",
}
# A text id that does not exist: no client can guess it, and it is as long as the id of a run.
_MARK: Final = f"none-{secrets.token_hex(10)}-"
_REPLACEMENT: Final = re.compile(rf"{_MARK}\d+|-\d+")  # see `_unknown`


class IdField(NamedTuple):
    """A field of a Struct that has ids."""

    owner: Any
    name: str
    kind: Kind


class Shape:
    """The fields of a request type that have ids, and those with Structs that have such fields.

    `__kept_ids__` of a Struct names fields whose ids are not looked up: ids of what the request
    creates, and references that are stored as they are.
    """

    __slots__ = ("ids", "kept", "parts")

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        hints = typing.get_type_hints(cls)
        kept = getattr(cls, "__kept_ids__", ())
        names = cls.__struct_fields__
        known = [(name, FIELDS[name]) for name in names if name in FIELDS]
        self.ids = [(name, kind) for name, kind in known if name not in kept]
        self.kept = [(name, kind) for name, kind in known if name in kept]
        inner = ((name, _struct_in(hints[name])) for name in names)
        shapes = [(name, shape_of(part)) for name, part in inner if part is not None]
        self.parts = [(name, shape) for name, shape in shapes if shape.has_ids]

    @property
    def has_ids(self) -> bool:
        """Whether a message may have ids at all."""
        return bool(self.ids or self.kept or self.parts)

    def places(self, message: Any, *, kept: bool = False) -> Iterator[IdField]:
        """The fields of a message that have ids now; `kept`: those whose ids are stored as they are."""
        for name, kind in self.kept if kept else self.ids:
            if getattr(message, name):
                yield IdField(message, name, kind)
        for name, shape in self.parts:
            found = getattr(message, name)
            if found:
                for item in found if isinstance(found, list) else (found,):
                    yield from shape.places(item, kept=kept)


@cache  # the types of all routes are few
def shape_of(cls: type[msgspec.Struct]) -> Shape:
    """The ids of a request type, whose Structs do not contain themselves."""
    return Shape(cls)


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    """The Struct in the type of a field: `S`, `S | None`, `list[S]`."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    return next(filter(None, map(_struct_in, typing.get_args(hint))), None)


def _listed(ids: str | list[str]) -> list[str]:
    return [ids] if isinstance(ids, str) else ids


def key_of(kind: Kind, id_: str) -> Key | None:
    """An id as the tables have it; None if it cannot exist. Handlers may strip spaces too."""
    plain = id_.strip()
    if kind != "experiment":
        return None if not plain or "\0" in plain else (kind, plain)
    try:
        number = int(plain)
    except ValueError:
        return None
    return (kind, str(number)) if MIN_ID <= number <= MAX_ID else None


class ForeignIds:
    """Finds the workspaces of ids in the tracking database.

    Nothing is cached, because MLflow can move experiments to the workspace `default`.
    """

    def __init__(self, tracking: Database) -> None:
        self._tracking = tracking
        self._single = GatheredReads(partial(tracking.read_point, find))

    async def workspaces(self, keys: Iterable[Key]) -> Mapping[Key, str]:
        """The workspaces of the ids that exist."""
        keys = set(keys)
        if len(keys) == 1:
            (key,) = keys
            found = await self._single.get(key)
            return {} if found is None else {key: found}
        return await self._tracking.read_by_keys(find, keys)


class RequestIds:
    """The ids of one request in a workspace. On a server without workspaces, all ids stay."""

    __slots__ = ("_foreign", "_given", "_known", "workspace")

    def __init__(self, known: ForeignIds | None, workspace: str) -> None:
        """`known` is None on a server without workspaces."""
        self.workspace = workspace
        self._known = known
        self._foreign: dict[Key, str] = {}  # what replaces them
        self._given: dict[str, str] = {}  # the ids that were replaced, by what replaced them

    async def hide(self, message: msgspec.Struct) -> None:
        """Replace the ids of other workspaces in a request, in place."""
        await self._hide(message)

    @asynccontextmanager
    async def judged(self, message: Any) -> AsyncIterator[None]:
        """Within the block, ids that the handler stores as they are are replaced as well.

        The rule for users then judges them as ids that do not exist.
        """
        given = [] if isinstance(message, dict) else await self._hide(message, kept=True)
        try:
            yield
        finally:
            for place, ids in given:
                setattr(place.owner, place.name, ids)

    async def _hide(
        self, message: msgspec.Struct, *, kept: bool = False
    ) -> list[tuple[IdField, Any]]:
        """Replace ids; the fields that have some, with what they had."""
        if self._known is None:
            return []
        shape = shape_of(type(message))
        if not shape.has_ids:
            return []
        places = [
            (place, getattr(place.owner, place.name)) for place in shape.places(message, kept=kept)
        ]
        if await self._find((place.kind, ids) for place, ids in places):
            for place, ids in places:
                setattr(place.owner, place.name, self._replaced(place.kind, ids))
        return places

    async def hidden_in(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a request that could not be decoded, with the ids of other workspaces replaced."""
        named = {
            name: value
            for name, value in fields.items()
            if name in FIELDS and isinstance(value, str)
        }
        found = await self.hidden({name: [value] for name, value in named.items()})
        return {**fields, **{name: values[0] for name, values in found.items()}}

    async def hidden(self, fields: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """The values of the fields of a raw request, with the ids of other workspaces replaced."""
        named = {name: FIELDS[name] for name in fields if name in FIELDS}
        await self._find((kind, fields[name]) for name, kind in named.items())
        return {
            name: self._replaced(named[name], values) if name in named else values
            for name, values in fields.items()
        }

    async def own(self, kind: Kind, ids: Iterable[str]) -> list[str]:
        """Those of the ids that something in this workspace has. Without workspaces: all of them."""
        if self._known is None:
            return list(ids)
        keys = {id_: key for id_ in ids if (key := key_of(kind, id_)) is not None}
        found = await self._known.workspaces(keys.values()) if keys else {}
        return [id_ for id_, key in keys.items() if found.get(key) == self.workspace]

    async def check(self, kind: Kind, ids: Sequence[str]) -> None:
        """Raise RESOURCE_DOES_NOT_EXIST for the first id that nothing in this workspace has.

        For routes that answer unknown ids otherwise without workspaces: then nothing is checked.
        """
        if self._known is None:
            return
        found = set(await self.own(kind, ids))
        for id_ in ids:
            if id_ not in found:
                raise not_found(MESSAGES[kind].format(id_))

    def restored(self, text: str) -> str:
        """The text of an error, with the ids that the client sent."""
        if not self._given:
            return text
        return _REPLACEMENT.sub(lambda found: self._given.get(found[0], found[0]), text)

    async def _find(self, named: Iterable[tuple[Kind, str | list[str]]]) -> bool:
        """Look up ids; whether one is of another workspace."""
        keys: set[Key] = set()
        given = ((kind, id_) for kind, ids in named for id_ in _listed(ids))
        for number, (kind, id_) in enumerate(given, 1):
            key = key_of(kind, id_)
            if key is not None and key not in self._foreign:
                keys.add(key)
            if number % PORTION == 0:
                await asyncio.sleep(0)  # a request may have tens of thousands
        if self._known is not None:
            wanted = list(keys)
            for start in range(0, len(wanted), PORTION):
                found = await self._known.workspaces(wanted[start : start + PORTION])
                for key, workspace in found.items():
                    if workspace != self.workspace:
                        self._foreign[key] = self._unknown(*key)
        return bool(self._foreign)

    def _unknown(self, kind: Kind, id_: str) -> str:
        number = len(self._foreign)
        # The ids of experiments are positive.
        unknown = str(MIN_ID + number) if kind == "experiment" else f"{_MARK}{number}"
        self._given[unknown] = id_
        return unknown

    def _replaced(self, kind: Kind, ids: Any) -> Any:
        if not isinstance(ids, str):
            return [self._replaced(kind, id_) for id_ in ids]
        key = key_of(kind, ids)
        return ids if key is None else self._foreign.get(key, ids)
