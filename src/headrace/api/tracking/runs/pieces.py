"""Runs in pieces: pages of many runs, and runs that are too large for one read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cache, partial
from typing import Any, Final

from headrace.api.pieces import MOST_ROWS, MOST_VALUES, Listing
from headrace.api.results import encode
from headrace.api.tracking.runs import pieces_sql, view
from headrace.api.tracking.runs.types import ModelInput, ModelOutput, RunInputs, RunOutputs
from headrace.auth.redactions import Hidden
from headrace.db.base import Database

# The lists of `data`: name, statement, rows per read, and the function that converts a row to a
# Struct.
DATA: Final = (
    (b"metrics", pieces_sql.METRICS_PART, MOST_ROWS, view.metric),
    (b"params", pieces_sql.PARAMS_PART, MOST_VALUES, view.pair),
    (b"tags", pieces_sql.TAGS_PART, MOST_VALUES, view.pair),
)


async def answer(db: Database, run_id: str, hidden: Hidden) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of an answer of runs/get."""
    yield b'{"run":'
    async with aclosing(parts(hidden, db, run_id, inputs_of_models=True)) as found:
        async for part in found:
            yield part
    yield b"}"


async def parts(
    hidden: Hidden, db: Database, run_id: str, inputs_of_models: bool = False
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of one run; nothing if there is no such run. Its lists are read in parts."""
    row = await db.read(pieces_sql.row_of, run_id)
    if row is None:
        return
    yield b'{"info":' + encode(view.info(row)) + b',"data":{'
    comma = b""
    for name, statement, most, show in DATA:
        before = b'%b"%b":[' % (comma, name)
        place: Any = None
        more = True
        while more:
            rows = await db.read(pieces_sql.part, statement, run_id, place, most)
            more = len(rows) == most
            if rows:
                yield before + encode([show(*row[1:]) for row in rows])[1:-1]
                before, place = b",", rows[-1][0]
        if place is not None:
            yield b"]"
            comma = b","
    yield b'},"inputs":{'
    before = b'"dataset_inputs":['
    for input_id in await db.read(pieces_sql.inputs, run_id):
        for _, dataset in view.datasets(await db.read(pieces_sql.dataset, input_id)):
            yield before + encode(dataset)
            before = b","
    read, written = RunInputs(), RunOutputs()
    if not hidden.logged_models:
        models = await db.read(pieces_sql.models, run_id, inputs_of_models)
        read.model_inputs = [ModelInput(model_id=row[1]) for row in models.models_in]
        written.model_outputs = [
            ModelOutput(model_id=row[1], step=row[2]) for row in models.models_out
        ]
    end = encode(read)[1:-1]
    if before == b",":
        end = b"]" + (b"," + end if end else b"")
    yield end + b'},"outputs":' + encode(written) + b"}"


@cache
def listing(hidden: Hidden) -> Listing[str]:
    """Return the functions that read runs for a caller."""
    return Listing(
        b"runs",
        pieces_sql.weigh,
        pieces_sql.read,
        lambda found: view.runs(found[0], found[1], hidden),
        partial(parts, hidden),
        pieces_sql.read_few,
    )
