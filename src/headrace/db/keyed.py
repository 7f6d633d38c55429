"""Statements that read a long list of pairs by their keys: first how large they are, then some of them."""

from __future__ import annotations


def sizes(table: str, owner: str, key: str, value: str, count: int) -> str:
    """The text for (key, bytes of key and value) of an owner's rows, in the order of their keys.

    `owner` is a condition on $1 to $`count`. Two more parameters are the key after which the rows begin (null: from
    the first on) and the maximum number of rows. Keys are compared by their bytes, whatever the collation is.
    """
    place, limit = f"${count + 1}", f"${count + 2}"
    return (
        f"SELECT {key}, {{bytes {key}}} + coalesce({{bytes {value}}}, 0) FROM {table} WHERE {owner}"
        f" AND (CAST({place} AS varchar) IS NULL OR {key} {{bytewise}} > {place})"
        f" ORDER BY {key} {{bytewise}} LIMIT {limit}"
    )


def rows(table: str, owner: str, key: str, value: str, count: int) -> str:
    """The text for (key, value) of an owner's rows with certain keys, in their order. `owner`: see `sizes`."""
    return (
        f"SELECT {key}, {value} FROM {table} WHERE {owner} AND {key} {{in ${count + 1} text}}"
        f" ORDER BY {key} {{bytewise}}"
    )
