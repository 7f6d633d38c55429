"""Large and small bodies are decoded to the same values, and refused for the same reasons."""

from __future__ import annotations

import msgspec
import pytest

from headrace.api.tracking.runs.types import LogBatch
from headrace.http.typed_json import TYPED_BYTES, decoder

PADDING = b" " * TYPED_BYTES


def metric(**literals: str) -> bytes:
    """A body with one metric whose fields are these JSON values."""
    fields = {"key": '"a"', "value": "1", "timestamp": "1", "step": "1"} | literals
    text = ",".join(f'"{name}":{value}' for name, value in fields.items())
    return f'{{"run_id":"r","metrics":[{{{text}}}]}}'.encode()


@pytest.mark.parametrize(
    "literal", ["1", "1.0", "0.1", "-0.0", "1e3", "1.7976931348623157e308", "5e-324", "9007199254740993"]
)  # fmt: skip
@pytest.mark.parametrize("field", ["value", "timestamp", "step"])
def test_a_large_body_has_the_values_of_a_small_one(field: str, literal: str) -> None:
    decode, body = decoder(LogBatch), metric(**{field: literal})
    found = []
    for sent in (body, body + PADDING):
        try:
            found.append(repr(decode(sent)))
        except msgspec.ValidationError as error:
            found.append(str(error))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"run_id":5}',
        b'{"run_id":"r","unknown":1}',
        metric(value='"x"'),
        metric(step="true"),
    ],
)
def test_a_large_body_is_refused_as_a_small_one(body: bytes) -> None:
    decode = decoder(LogBatch)
    errors = []
    for sent in (body, body + PADDING):
        with pytest.raises(msgspec.DecodeError) as caught:
            decode(sent)
        errors.append((type(caught.value), str(caught.value).partition(" (byte")[0]))
    assert errors[0] == errors[1]
