"""Ids of other workspaces: which fields have them, and what replaces them."""

from __future__ import annotations

import asyncio
import typing
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from headrace.api.routes import ROUTES
from headrace.api.traces.traces.types import SearchTraces
from headrace.api.tracking.runs.types import (
    GetRun,
    LogBatch,
    LogInputs,
    MetricIn,
    ModelInput,
    SearchRuns,
)
from headrace.auth.foreign import FIELDS, PORTION, ForeignIds, RequestIds, Shape, key_of, shape_of
from headrace.auth.foreign_sql import TABLES
from headrace.auth.rules import Needs
from headrace.http.router import Endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from headrace.api.route import Route
    from headrace.auth.foreign_sql import Key

# Fields whose names end like those of ids, and why no workspace is looked up for them.
OTHERS = {
    "assessment_id": "found together with its trace",
    "client_request_id": "a text of the client",
    "dataset_record_ids": "found together with their dataset",
    "deployment_job_id": "not a job of this server",
    "resource_id": "the id of something that the server does not know",
    "source_id": "the name of a user or a program",
    "span_id": "found together with its trace",
    "update_schema_ids": "not an id",
    "upload_id": "found together with its path",
    "user_id": "the name of a user",
}


# References that handlers store without a look-up (`__kept_ids__`), as stock does.
STORED = {
    ("/api/2.0/mlflow/runs/log-inputs", "models[].model_id"),
    ("/api/2.0/mlflow/runs/outputs", "models[].model_id"),
    ("/api/2.0/mlflow/logged-models", "source_run_id"),
    ("/api/3.0/mlflow/datasets/create", "experiment_ids[]"),
}


class Tables:
    """A database in which these ids exist; `reads` are the keys that were looked up."""

    def __init__(self, found: dict[Key, str]) -> None:
        self.found = found
        self.reads: list[set[Key]] = []

    async def read_point(self, fn: Callable[..., Awaitable[Any]], keys: Any) -> dict[Key, str]:
        return await self.read_by_keys(fn, keys)

    async def read_by_keys(self, fn: Callable[..., Awaitable[Any]], keys: Any) -> dict[Key, str]:
        self.reads.append(set(keys))
        return {key: self.found[key] for key in keys if key in self.found}


MINE = {("experiment", "1"): "b", ("run", "mine"): "b", ("logged_model", "m-mine"): "b"}
THEIRS = {
    ("experiment", "2"): "a",
    ("experiment", "3"): "a",
    ("run", "theirs"): "a",
    ("logged_model", "m-theirs"): "a",
    ("trace", "tr-theirs"): "a",
}


@pytest.fixture
def tables() -> Tables:
    return Tables(cast("dict[Key, str]", MINE | THEIRS))


@pytest.fixture
def ids(tables: Tables) -> RequestIds:
    return RequestIds(ForeignIds(cast("Any", tables)), "b")


async def test_own_and_unknown_ids_stay(ids: RequestIds) -> None:
    req = SearchRuns(experiment_ids=["1", "01", "99", "x", ""])
    await ids.hide(req)
    assert req.experiment_ids == ["1", "01", "99", "x", ""]


async def test_an_id_of_another_workspace_becomes_one_that_does_not_exist(ids: RequestIds) -> None:
    req = GetRun(run_id="theirs")
    await ids.hide(req)
    assert req.run_id not in ("theirs", "mine")
    assert ids.restored(f"Run with id={req.run_id} not found") == "Run with id=theirs not found"


async def test_an_error_names_each_of_many_ids_as_it_was_sent() -> None:
    """The eleventh replacement begins like the first one."""
    given = [f"theirs-{number}" for number in range(30)]
    found = cast("dict[Key, str]", {("trace", id_): "a" for id_ in given})
    ids = RequestIds(ForeignIds(cast("Any", Tables(found))), "b")
    hidden = (await ids.hidden({"trace_ids": given}))["trace_ids"]
    assert not set(hidden) & set(given)
    assert ids.restored(f"{hidden}, -1 and -22") == f"{given}, -1 and -22"


@pytest.mark.parametrize("spelling", ["2", "02", " 2 ", "+2", "0_2", "\t2\n"])
async def test_every_spelling_of_an_experiment_is_found(ids: RequestIds, spelling: str) -> None:
    req = SearchRuns(experiment_ids=["1", spelling])
    await ids.hide(req)
    assert req.experiment_ids[0] == "1"
    assert int(req.experiment_ids[1]) < 0
    assert ids.restored(f"No Experiment with id={req.experiment_ids[1]} exists").endswith(
        "2 exists"
    )


async def test_spaces_around_an_id_do_not_matter(ids: RequestIds) -> None:
    req = GetRun(run_id=" theirs ")
    await ids.hide(req)
    assert "theirs" not in req.run_id


async def test_each_field_is_looked_at_also_if_another_one_names_the_same(ids: RequestIds) -> None:
    req = GetRun(run_id="mine", run_uuid="theirs")
    await ids.hide(req)
    assert req.run_id == "mine"
    assert req.run_uuid not in ("theirs", "mine", None)


async def test_ids_within_items_are_found_in_one_read(ids: RequestIds, tables: Tables) -> None:
    metrics = [
        MetricIn(key="a", value=1.0, timestamp=1, model_id=id_) for id_ in ("m-mine", "m-theirs")
    ]
    req = LogBatch(run_id="mine", metrics=metrics)
    await ids.hide(req)
    assert req.run_id == "mine"
    assert metrics[0].model_id == "m-mine"
    assert metrics[1].model_id not in ("m-theirs", "m-mine", None)
    assert len(tables.reads) == 1


async def test_ids_within_parts_are_found(ids: RequestIds) -> None:
    given = {
        "locations": [
            {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id_}}
            for id_ in ("1", "2")
        ]
    }
    req = msgspec.convert(given, SearchTraces)
    await ids.hide(req)
    places = [one.mlflow_experiment for one in req.locations]
    found = [one.experiment_id for one in places if one is not None]
    assert found[0] == "1"
    assert int(found[1] or "") < 0


async def test_stored_references_are_hidden_from_rules_only(ids: RequestIds) -> None:
    models = [ModelInput(model_id=id_) for id_ in ("m-mine", "m-theirs")]
    req = LogInputs(run_id="mine", models=models)
    await ids.hide(req)
    assert [model.model_id for model in models] == ["m-mine", "m-theirs"]
    async with ids.judged(req):
        assert models[0].model_id == "m-mine"
        assert models[1].model_id not in ("m-mine", "m-theirs", None)
    assert [model.model_id for model in models] == ["m-mine", "m-theirs"]


async def test_fields_that_could_not_be_decoded(ids: RequestIds) -> None:
    given = {"model_id": "m-theirs", "run_id": ["theirs"], "params": {"run_id": "theirs"}}
    found = await ids.hidden_in(given)
    assert found["model_id"] != "m-theirs"
    assert found["params"] == given["params"]


async def test_many_ids_are_looked_up_in_portions(ids: RequestIds, tables: Tables) -> None:
    req = SearchRuns(experiment_ids=[str(number) for number in range(2 * PORTION + 1)])
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    await ids.hide(req)
    other.cancel()
    assert [len(keys) for keys in tables.reads] == [PORTION, PORTION, 1]
    assert turns >= 2, "other requests run in between"
    assert [int(id_) for id_ in req.experiment_ids[:2]] == [0, 1]
    assert all(int(id_) < 0 for id_ in req.experiment_ids[2:4])


async def test_different_ids_are_replaced_by_different_ones(ids: RequestIds) -> None:
    req = SearchRuns(experiment_ids=["2", "3", "2"])
    await ids.hide(req)
    assert len(set(req.experiment_ids)) == 2
    assert req.experiment_ids[0] == req.experiment_ids[2]


async def test_fields_of_a_query_are_replaced_each(ids: RequestIds) -> None:
    given = {"run_id": ["mine", "theirs"], "request_id": ["tr-theirs"], "path": ["theirs"]}
    found = await ids.hidden(given)
    assert found["run_id"][0] == "mine"
    assert found["path"] == ["theirs"]
    assert not {"theirs", "tr-theirs"} & {*found["run_id"], *found["request_id"]}


@pytest.mark.parametrize("id_", ["", " ", "a\0b", "x" * 4])
def test_texts_that_no_row_has_are_not_looked_up(id_: str) -> None:
    assert key_of("run", id_) == (("run", "xxxx") if "x" in id_ else None)


@pytest.mark.parametrize("id_", ["", "x", "9" * 20, "-" + "9" * 20, "9" * 5000, "1.0", "1e3"])
def test_texts_that_are_no_experiment_are_not_looked_up(id_: str) -> None:
    assert key_of("experiment", id_) is None


def _flat(shape: Shape, path: str = "") -> Iterator[str]:
    for name, _ in shape.ids:
        yield path + name
    for name, part in shape.parts:
        yield from _flat(part, f"{path}{name}.")


def _names(hint: Any) -> Iterator[str]:
    """The fields of the Structs in a type."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        for name, inner in typing.get_type_hints(hint).items():
            yield name
            yield from _names(inner)
    for part in typing.get_args(hint):
        yield from _names(part)


def test_every_field_with_ids_is_known() -> None:
    """A new field belongs in `FIELDS`, or in OTHERS with its reason."""
    names = {name for route in _decoded() for name in _names(Endpoint(route).request_type)}
    of_ids = {name for name in names if name.rstrip("s").endswith(("_id", "_uuid"))}
    assert of_ids - FIELDS.keys() == OTHERS.keys()


def test_every_kind_has_a_table() -> None:
    assert set(FIELDS.values()) == TABLES.keys()


def test_the_ids_of_rules_are_found() -> None:
    """The ids that the rules for users name are looked up for the workspace too."""
    for route in _decoded():
        if not isinstance(route.rule, Needs):
            continue
        ids = set(_flat(shape_of(cast("Any", Endpoint(route).request_type))))
        for need in route.rule.needs:
            names = need.ids.replace("[]", "").split("|") if isinstance(need.ids, str) else []
            if any(name.rpartition(".")[2] in FIELDS for name in names):
                is_kept = (route.path, need.ids) in STORED
                assert bool(ids.intersection(names)) is not is_kept, f"{route.path}: {names}"


def _decoded() -> list[Route]:
    return [route for route in ROUTES if not route.raw]
