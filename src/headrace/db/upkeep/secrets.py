"""Rotation of the key that wraps the keys of the AI gateway's secrets, in all workspaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.contract import envelope
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from headrace.db.base import Tx

AT_ONCE: Final = 500  # secrets that are in memory at a time
OF_VERSION = Sql(
    "SELECT secret_id, secret_name, wrapped_dek FROM secrets WHERE kek_version = $1"
    " AND secret_id > $2 ORDER BY secret_id LIMIT $3 {for update}"
)
REWRAP = Sql("UPDATE secrets SET wrapped_dek = $2, kek_version = $3 WHERE secret_id = $1")
OTHERS = Sql(
    "SELECT kek_version, count(*) FROM secrets WHERE kek_version <> $1"
    " GROUP BY kek_version ORDER BY kek_version"
)


class OtherKey(Exception):
    """The key of a secret is not wrapped by the old key of the server; `args` has its name."""


class Rotated(NamedTuple):
    """How many secrets have the new version, and how many have each of the other ones."""

    secrets: int
    others: dict[int, int]


async def rotate(tx: Tx, old: bytes, new: bytes, version: int) -> Rotated:
    """Wrap the keys of all secrets of a version of the server's key by the next one.

    The values stay as they are. Raises OtherKey, and then nothing has changed.
    """
    count, last = 0, ""
    while rows := await tx.fetch(OF_VERSION, version, last, AT_ONCE):
        for secret_id, name, wrapped in rows:
            try:
                rewrapped = envelope.rewrap(wrapped, old, new)
            except envelope.Unreadable as error:
                raise OtherKey(name) from error
            await tx.execute(REWRAP, secret_id, rewrapped, version + 1)
        count += len(rows)
        last = rows[-1][0]
    others = await tx.fetch(OTHERS, version + 1)
    return Rotated(count, {row[0]: row[1] for row in others})
