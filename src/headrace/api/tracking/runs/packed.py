"""The JSON of the data logged to runs, from the texts that `packed_sql` reads.

The texts of params and tags are delimited by control characters, which JSON escapes. So in a text
without characters that JSON would escape, each delimiter is replaced by the JSON that belongs
between two values, for all runs at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from headrace.api.nouns import KeyValue
from headrace.api.results import encode
from headrace.api.tracking.runs import view
from headrace.api.tracking.runs.packed_sql import (
    BETWEEN_METRICS,
    KEY_END,
    LIST_END,
    LONG,
    PAIR_END,
    Packed,
    Texts,
)
from headrace.api.tracking.runs.types import RunInfo, RunInfoOpen, RunInputs, RunOutputs
from headrace.auth.redactions import Hidden
from headrace.db.base import Row

# Lists of more characters are converted run by run, which needs less memory.
MOST_AT_ONCE: Final = 2 << 20
_LIST_END: Final = LIST_END.encode()
_ESCAPED: Final = bytes({*range(32), *b'"\\'})  # by JSON
_ESCAPED_IN_PAIRS: Final = bytes({*_ESCAPED} - {*(KEY_END + PAIR_END + LIST_END).encode()})
_METRIC_BEGIN: Final = BETWEEN_METRICS.encode()[2:]
_METRIC_QUOTES: Final = BETWEEN_METRICS.count('"')
_QUOTES_AFTER_KEY: Final = '","value":,"timestamp":,"step":'.count('"')
Long = Mapping[tuple[str, str], str]


class Ambiguous(Exception):
    """The texts do not show where a value ends, or a number is not finite: read the data in rows."""


class PackedRun(msgspec.Struct):
    """A `Run` whose data is JSON already."""

    info: RunInfo | RunInfoOpen
    data: msgspec.Raw
    inputs: RunInputs
    outputs: RunOutputs


def runs(rows: Sequence[Row], packed: Packed, hidden: Hidden) -> list[PackedRun]:
    """Return the runs in the order of `rows`, with the data logged to them that is not hidden.

    Raises `Ambiguous`.
    """
    run_ids = [row[0] for row in rows]
    metrics = _metrics(packed.metrics)
    params = _pairs(packed.params, run_ids, packed.long_params)
    tags = _pairs(packed.tags, run_ids, packed.long_tags)
    inputs, outputs = view.links(run_ids, packed.links, hidden)
    return [
        PackedRun(view.info(row), _data(*lists), inputs[row[0]], outputs[row[0]])
        for row, *lists in zip(rows, metrics, params, tags, strict=True)
    ]


def _data(metrics: bytes, params: bytes, tags: bytes) -> msgspec.Raw:
    lists = []
    if metrics:
        lists.append(b'"metrics":[%b]' % metrics)
    if params:
        lists.append(b'"params":[%b]' % params)
    if tags:
        lists.append(b'"tags":[%b]' % tags)
    return msgspec.Raw(b"{%b}" % b",".join(lists))


def _metrics(lists: Texts) -> list[bytes]:
    """Return the JSON of the metrics of each run, without brackets."""
    texts = lists.texts
    joined = LIST_END.join(texts).encode()
    between = lists.items - sum(map(bool, texts))
    expected = len(texts) - 1 + _QUOTES_AFTER_KEY * lists.items + _METRIC_QUOTES * between
    if len(joined) - len(joined.translate(None, _ESCAPED)) != expected:
        raise Ambiguous
    if b":Infinity" in joined or b":-Infinity" in joined:
        raise Ambiguous
    if b":NaN," in joined:
        joined = joined.replace(b'"value":NaN,', b'"value":"NaN",')
    return [_METRIC_BEGIN + text + b"}" if text else text for text in joined.split(_LIST_END)]


def _pairs(lists: Texts, run_ids: Sequence[str], long: Long) -> list[bytes]:
    """Return the JSON of the params or tags of each run, without brackets."""
    texts = lists.texts
    is_short = sum(map(len, texts)) <= MOST_AT_ONCE
    parts = [LIST_END.join(texts)] if is_short else texts
    expected = {
        KEY_END: lists.items,
        PAIR_END: lists.items - sum(map(bool, texts)),
        LIST_END: len(texts) - len(parts),
    }
    if any(sum(part.count(mark) for part in parts) != expected[mark] for mark in expected):
        raise Ambiguous
    if is_short:
        joined = parts[0].encode()
        if _is_plain(joined):
            return _replaced(joined)
    found = []
    for run_id, text in zip(run_ids, texts, strict=True):
        part = text.encode()
        found += _replaced(part) if _is_plain(part) else [_escaped(run_id, text, long)]
    return found


def _is_plain(part: bytes) -> bool:
    """Whether JSON would escape nothing but the delimiters."""
    return len(part.translate(None, _ESCAPED_IN_PAIRS)) == len(part)


def _replaced(part: bytes) -> list[bytes]:
    """Return the JSON of plain lists."""
    part = part.replace(KEY_END.encode(), b'","value":"')
    part = part.replace(PAIR_END.encode(), b'"},{"key":"')
    return [b'{"key":"%b"}' % text if text else text for text in part.split(_LIST_END)]


def _escaped(run_id: str, text: str, long: Long) -> bytes:
    """Return the JSON of a list in which JSON escapes something, or values are left out."""
    pairs = []
    for item in text.split(PAIR_END):
        key, _, value = item.partition(KEY_END)
        if value != LONG:
            pairs.append(KeyValue(key, value))
        elif (found := long.get((run_id, key))) is not None:
            pairs.append(KeyValue(key, found))
        # Otherwise the value was deleted in the meantime.
    return encode(pairs)[1:-1]
