"""Statements that read a long list of pairs by their keys: first how large they are, then some of them."""

from __future__ import annotations

from typing import NamedTuple


class Texts(NamedTuple):
    """One statement on both databases, as `Sql` and `Scoped` take it."""

    postgres: str
    sqlite: str


def sizes(table: str, owner: str, key: str, value: str, count: int) -> Texts:
    """(key, bytes of key and value) of an owner's rows, in the order of their keys.

    `owner` is a condition on $1 to $`count`. Then follow the key after which the rows begin (null: with the first)
    and the most rows. On PostgreSQL keys are compared by their bytes, whatever the collation of the database is.
    """
    place, limit = f"${count + 1}", f"${count + 2}"
    return Texts(
        f"SELECT {key}, octet_length({key}) + coalesce(octet_length({value}::text), 0) FROM {table}"
        f' WHERE {owner} AND ({place}::varchar IS NULL OR {key} COLLATE "C" > {place})'
        f' ORDER BY {key} COLLATE "C" LIMIT {limit}',
        f"SELECT {key}, length({key}) + coalesce(length({value}), 0) FROM {table}"
        f" WHERE {owner} AND ({place} IS NULL OR {key} > {place}) ORDER BY {key} LIMIT {limit}",
    )


def rows(table: str, owner: str, key: str, value: str, count: int) -> Texts:
    """(key, value) of an owner's rows that have one of some keys, in the order of the keys. `owner`: see `sizes`."""
    keys = f"${count + 1}"
    select = f"SELECT {key}, {value} FROM {table} WHERE {owner} AND {key}"
    return Texts(
        f'{select} = ANY({keys}::varchar[]) ORDER BY {key} COLLATE "C"',
        f"{select} IN (SELECT value FROM json_each({keys})) ORDER BY {key}",
    )
