"""The statement for the ids of the gateway's lists, which have filters but neither pages nor an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.search.compile import Parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.auth.access import Scope
    from headrace.db.base import Dialect, Row

START = (-1, "")  # before the first row


@dataclass(frozen=True, slots=True)
class GatewayRows:
    """The rows of a list, the oldest first. A row of the statement is id, time of creation, bytes."""

    text: str
    values: tuple[Any, ...]

    def after(self, place: tuple[int, str], most: int) -> tuple[Any, ...]:
        """The arguments for the first `most` rows after a place."""
        return (*self.values, *place, most)

    @staticmethod
    def place(row: Row) -> tuple[int, str]:
        """The place of a row."""
        return row[1], row[0]


def gateway_rows(
    table: str,
    key: str,
    columns: Sequence[str],
    *,
    equal: Mapping[str, str | None],
    readable: Scope | None,
    dialect: Dialect,
) -> GatewayRows:
    """The rows of a table whose columns are equal to those texts of `equal` that are set.

    `columns` are those of any length, which count as the bytes of a row. `readable` has the ids that
    the caller may read (None: all).
    """
    parameters = Parameters(dialect)
    where = ["workspace = {workspace}"]
    where += [f"{column} = {parameters.add(text)}" for column, text in equal.items() if text]
    if readable is not None:
        where.append(parameters.readable(key, readable))
    count = len(parameters.values)
    place = f"(created_at, {key}) > (${count + 1}, ${count + 2})"
    size = " + ".join(["0", *(f"coalesce({{bytes {column}}}, 0)" for column in columns)])
    text = (
        f"SELECT {key}, created_at, {size} FROM {table} WHERE {' AND '.join([*where, place])}"
        f" ORDER BY created_at, {key} LIMIT ${count + 3}"
    )
    return GatewayRows(text, tuple(parameters.values))
