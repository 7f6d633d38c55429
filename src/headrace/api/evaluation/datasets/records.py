"""Answers with the records of an evaluation dataset, as JSON text inside JSON."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from headrace.api.evaluation.datasets import records_sql
from headrace.api.evaluation.datasets.records_sql import Page, RecordPosition, RecordRow
from headrace.api.evaluation.datasets.upsert import WRAPPED
from headrace.api.pieces import groups
from headrace.api.results import Chunks, Encoded, TooLong, encode
from headrace.contract.errors import invalid

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from headrace.db.base import Database, Row

KEYS_AT_ONCE: Final = 10_000
MAX_OFFSET: Final = 2**63 - 1
_WRAPPED: Final = f'{{"{WRAPPED}": '
_BEGIN: Final = b'{"records":"['


def position_of(token: str | None) -> tuple[RecordPosition | None, int]:
    """The place after which a page begins, and the number of records that it leaves out.

    Raises INVALID_PARAMETER_VALUE.
    """
    if not token:
        return None, 0
    try:
        created, record_id = base64.b64decode(token.encode()).decode().split(":", 1)
        place, number = RecordPosition(int(created), record_id), int(created)
    except ValueError:
        try:
            place, number = None, int(token)
        except ValueError:
            number = -1
    if not 0 <= number <= MAX_OFFSET:
        raise invalid("Invalid page token. It must be a token from the previous answer.")
    return (None, number) if place is None else (place, 0)


def token_of(place: RecordPosition) -> str:
    """The token of the page after this record."""
    return base64.b64encode(f"{place.created_time}:{place.record_id}".encode()).decode()


async def page(db: Database, page: Page) -> Encoded | Chunks:
    """A page of records, in pieces if it is long."""
    try:
        rows, last = await db.read(records_sql.small_page, page)
    except TooLong:
        return Chunks(_pieces(db, page))
    return Encoded(_BEGIN + _text(rows) + _end(last))


async def _pieces(db: Database, page: Page) -> AsyncGenerator[bytes, None]:
    before, left, last = _BEGIN, page.limit, None
    while left:
        part = page._replace(offset=page.offset if last is None else 0, after=last or page.after)
        found = await db.read(records_sql.keys, part, min(left, KEYS_AT_ONCE))
        if not found:
            break
        ids = [place.record_id for place in found]
        for group in groups(ids, await db.read(records_sql.weigh, ids)):
            text = _text(await db.read(records_sql.read, group))
            if text:
                yield before + text
                before = b", "
        left, last = left - len(found), found[-1]
    if before is _BEGIN:
        yield before
    if last is not None and left == 0:
        rest = await db.read(records_sql.keys, page._replace(offset=0, after=last), 1)
        last = last if rest else None
    else:
        last = None
    yield _end(last)


def _end(last: RecordPosition | None) -> bytes:
    return b']"}' if last is None else b']","next_page_token":' + encode(token_of(last)) + b"}"


def _text(rows: Iterable[Row]) -> bytes:
    """Records as they stand in the list in the text: JSON, written as a part of a JSON text."""
    return encode(", ".join([_record(RecordRow(*row)) for row in rows]))[1:-1]


def _record(row: RecordRow) -> str:
    """A record as JSON. Its stored JSON texts are written by `json.dumps`, as the answer is."""
    parts = [
        f'"dataset_record_id": {json.dumps(row.dataset_record_id)}',
        f'"dataset_id": {json.dumps(row.dataset_id)}',
        f'"inputs": {row.inputs}',
    ]
    if _is_set(row.expectations):
        parts.append(f'"expectations": {row.expectations}')
    parts.append(f'"tags": {row.tags if _is_set(row.tags) else "{}"}')
    if _is_set(row.source) and row.source != "{}":
        parts.append(f'"source": {row.source}')
    for name, value in (("source_id", row.source_id), ("source_type", row.source_type)):
        if value is not None:
            parts.append(f'"{name}": {json.dumps(value)}')
    parts.append(f'"created_time": {row.created_time}')
    parts.append(f'"last_update_time": {row.last_update_time}')
    for name, value in (("created_by", row.created_by), ("last_updated_by", row.last_updated_by)):
        if value is not None:
            parts.append(f'"{name}": {json.dumps(value)}')
    outputs = _unwrapped(row.outputs)
    if _is_set(outputs):
        parts.append(f'"outputs": {outputs}')
    return "{" + ", ".join(parts) + "}"


def _is_set(text: str | None) -> bool:
    return text is not None and text != "null"


def _unwrapped(text: str | None) -> str | None:
    if text is None:
        return None
    if text.startswith(_WRAPPED):
        return text[len(_WRAPPED) : -1]
    stored = json.loads(text)
    return json.dumps(stored[WRAPPED]) if isinstance(stored, dict) and WRAPPED in stored else None
