"""SQL that writes spans, and reads what their traces sum up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from headrace.db.base import Row, Tx
from headrace.db.sql import Bulk, Replace, Sql

UPSERT = Bulk(
    "spans",
    trace_id="text",
    span_id="text",
    experiment_id="int",
    parent_span_id="text",
    name="text",
    type="text",
    status="text",
    start_time_unix_nano="bigint",
    end_time_unix_nano="bigint",
    content="text",
    input_cost="double",
    output_cost="double",
    total_cost="double",
    model_name="text",
    model_provider="text",
    on_conflict=Replace("trace_id", "span_id"),
)
_USAGE: Final = '"mlflow.chat.tokenUsage": '
_COST: Final = '"mlflow.llm.cost": '
_VALUE_CHARACTERS: Final = 1000  # of the stored text: a small JSON object in a JSON string


def _part(position: str, key: str) -> str:
    """The text that follows a key of the attributes, if the content has it."""
    at = f"{position}(content, '{key}')"
    return f"CASE WHEN {at} > 0 THEN substr(content, {at} + {len(key)}, {_VALUE_CHARACTERS}) END"


def _nodes(position: str) -> str:
    parts = f"{_part(position, _USAGE)}, {_part(position, _COST)}"
    return f"SELECT trace_id, span_id, parent_span_id, {parts} FROM spans WHERE trace_id {{in $1 text}}"


# (trace_id, span_id, parent_span_id, usage, cost) of all spans of the traces. Usage and cost are
# the beginnings of the JSON strings in the content: the content may be megabytes long.
NODES = Sql(postgres=_nodes("strpos"), sqlite=_nodes("instr"))


async def upsert(tx: Tx, rows: Sequence[Sequence[Any]], *, are_new: bool) -> None:
    """Write spans, in the order of their traces and ids. `are_new`: probably none of them exists."""
    if rows and not (are_new and await tx.copy_new(UPSERT, rows)):
        await tx.executemany(UPSERT, rows)


async def nodes(tx: Tx, trace_ids: Sequence[str]) -> list[Row]:
    """Return the spans of the traces with the texts of their usage and cost."""
    return await tx.fetch(NODES, tx.array(trace_ids))
