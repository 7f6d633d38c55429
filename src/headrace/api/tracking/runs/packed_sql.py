"""SQL for the data logged to the runs of a page, joined to few long texts.

A page of 100 runs easily has 6,000 metrics, params and tags. As rows they cost more to send and to
decode than to find. So the database joins each list of a run to one text, which `packed` turns into
JSON as a whole (docs/decisions/search.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from headrace.api.tracking.runs import sql
from headrace.db.base import Tx
from headrace.db.sql import Sql

# The ends of the key of a param or tag, of a param or tag, and of a run's list.
KEY_END, PAIR_END, LIST_END = "\x1f", "\x1e", "\x1c"
LONG: Final = "\x1d"  # stands for a value that is too long
# Items of one list of a run. A run with more is read in rows, where the total is limited.
MOST_ITEMS: Final = 200
# JSON that a client reads as a float, as in the answers of other routes; NaN is not quoted.
_NUMBER: Final = (
    "CASE WHEN is_nan THEN 'NaN' WHEN value = floor(value) AND abs(value) < 1e15"
    " THEN value || '.0' ELSE value::text END"
)
# Keys of metrics contain nothing that JSON escapes, so the texts of metrics are JSON.
BETWEEN_METRICS: Final = '},{"key":"'
_METRIC: Final = (
    f'key || \'","value":\' || {_NUMBER} || \',"timestamp":\' || timestamp || \',"step":\' || step'
)
_PAIR: Final = (
    f"key || chr({ord(KEY_END)}) || CASE WHEN octet_length(value) <= {sql.SHORT} THEN value"
    f" WHEN value IS NULL THEN '' ELSE chr({ord(LONG)}) END"
)


def _texts(kind: int, table: str, item: str, between: str, columns: str) -> str:
    """Return the SQL for one text per run, with its items in the order of the table (`sql.METRICS`)."""
    return (
        f"SELECT {kind}, n::int, items::int, text FROM unnest($1::varchar[]) WITH ORDINALITY AS r(run_uuid, n),"
        f" LATERAL (SELECT count(*) AS items, string_agg({item}, {between}) AS text"
        f" FROM (SELECT {columns} FROM {table} WHERE {table}.run_uuid = r.run_uuid LIMIT $2) AS found) AS joined"
    )


METRICS, PARAMS, TAGS, LINKS = range(4)
# One row for each list of each run: kind, number of the run (from 1), number of items, text. The
# last row says whether any of the runs read a dataset or wrote a model.
TEXTS = Sql(
    postgres=" UNION ALL ".join(
        [
            _texts(
                METRICS,
                "latest_metrics",
                _METRIC,
                f"'{BETWEEN_METRICS}'",
                "key, value, timestamp, step, is_nan",
            ),
            _texts(PARAMS, "params", _PAIR, f"chr({ord(PAIR_END)})", "key, value"),
            _texts(TAGS, "tags", _PAIR, f"chr({ord(PAIR_END)})", "key, value"),
            f"SELECT {LINKS}, 0, (EXISTS (SELECT 1 FROM inputs i WHERE i.destination_type = 'RUN'"
            " AND i.destination_id = ANY($1::varchar[])) OR EXISTS (SELECT 1 FROM inputs i"
            " WHERE i.source_type = 'RUN_OUTPUT' AND i.source_id = ANY($1::varchar[])))::int, NULL",
        ]
    )
)


class Texts(NamedTuple):
    """One list of all runs: a text for each run, in the order of the runs, and the number of items."""

    texts: list[str]
    items: int


class Packed(NamedTuple):
    """The data logged to some runs. `links` has only the lists of datasets and models."""

    metrics: Texts
    params: Texts
    tags: Texts
    links: sql.Logged
    # The values of params and tags that are too long for a text, by run id and key.
    long_params: dict[tuple[str, str], str]
    long_tags: dict[tuple[str, str], str]


async def read(tx: Tx, run_ids: Sequence[str]) -> Packed | sql.Logged:
    """Return the data logged to the runs, in rows if a run has more than `MOST_ITEMS` of a kind.

    Raises `TooLong`.
    """
    if tx.dialect == "sqlite":  # texts cost as much as rows, and those of numbers are not exact
        return await read_rows(tx, run_ids)
    ids = tx.array(run_ids)
    lists = [[""] * len(run_ids) for _ in (METRICS, PARAMS, TAGS)]
    items = [0, 0, 0]
    is_linked = False
    for kind, number, count, text in await tx.fetch(TEXTS, ids, MOST_ITEMS + 1):
        if kind == LINKS:
            is_linked = bool(count)
        elif count > MOST_ITEMS:
            return await read_rows(tx, run_ids)
        elif count:
            lists[kind][number - 1] = text or ""
            items[kind] += count
    links = sql.Logged()
    if is_linked:
        links = await sql.links(tx, ids, inputs_of_models=False, most=sql.PAGE)
    metrics, params, tags = map(Texts, lists, items)
    return Packed(
        metrics,
        params,
        tags,
        links,
        await _long(tx, sql.LONG_PARAMS, run_ids, params),
        await _long(tx, sql.LONG_TAGS, run_ids, tags),
    )


async def read_rows(tx: Tx, run_ids: Sequence[str]) -> sql.Logged:
    """Return the data logged to the runs in rows. Raises `TooLong`."""
    return await sql.logged(tx, run_ids, inputs_of_models=False, most=sql.PAGE)


async def _long(
    tx: Tx, statement: Sql, run_ids: Sequence[str], pairs: Texts
) -> dict[tuple[str, str], str]:
    """Return the values that the texts leave out."""
    wanted = {
        (run_id, item[: -len(LONG) - 1])
        for run_id, text in zip(run_ids, pairs.texts, strict=True)
        if LONG in text
        for item in text.split(PAIR_END)
        if item.endswith(KEY_END + LONG)
    }
    if not wanted:
        return {}
    return await sql.long_values(tx, statement, wanted, sql.PAGE)
