"""Statements that read a long list of pairs by key: first the sizes, then some of the pairs."""

from __future__ import annotations


def sizes(table: str, owner: str, key: str, value: str, count: int) -> str:
    """SQL for (key, bytes of key and value) of an owner's rows, in the order of their keys.

    `owner` is a condition on $1 to $`count`. Two more parameters are the key after which the rows
    begin (null: with the first) and the maximum number of rows. Keys are compared by their bytes,
    independently of the collation.
    """
    place, limit = f"${count + 1}", f"${count + 2}"
    # An expression: SQLite would follow an index that begins with the key, through the rows of all owners.
    order = f"({key} || '') {{bytewise}}"
    return (
        f"SELECT {key}, {{bytes {key}}} + coalesce({{bytes {value}}}, 0) FROM {table} WHERE {owner}"
        f" AND (CAST({place} AS varchar) IS NULL OR {order} > {place})"
        f" ORDER BY {order} LIMIT {limit}"
    )


def rows(table: str, owner: str, key: str, value: str, count: int) -> str:
    """SQL for (key, value) of an owner's rows with certain keys, in key order.

    `owner` and `count` are as for `sizes`; one more parameter is the array of keys.
    """
    return (
        f"SELECT {key}, {value} FROM {table} WHERE {owner} AND {key} {{in ${count + 1} text}}"
        f" ORDER BY ({key} || '') {{bytewise}}"
    )
