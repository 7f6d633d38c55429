"""Decoding of bodies and queries: which are accepted, which are refused, and at which cost."""

from __future__ import annotations

import asyncio
import math
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.routes import ROUTES
from headrace.api.tracking.logged_models.types import SearchLoggedModels
from headrace.api.tracking.runs.types import (
    CreateRun,
    LogBatch,
    LogMetric,
    LogParam,
    SearchRuns,
    SetTag,
    UpdateRun,
)
from headrace.contract import value_count
from headrace.contract.errors import ApiError, ErrorCode
from headrace.contract.limits import (
    MAX_BODY_VALUES,
    MAX_EXPLAINED_BYTES,
    MAX_EXPLAINED_VALUES,
    MAX_JSON_BYTES,
    MAX_TEXT,
)
from headrace.http import proto
from headrace.http.codec import Decoder

TYPES = sorted(
    {typing.get_type_hints(route.handler)["req"] for route in ROUTES if not route.raw},
    key=lambda cls: cls.__name__,
)


def read(cls: type[msgspec.Struct], body: bytes) -> Any:
    return Decoder(cls).from_body(body)


def refusal(cls: type[msgspec.Struct], body: bytes) -> str:
    with pytest.raises(ApiError) as refused:
        read(cls, body)
    assert refused.value.code == ErrorCode.INVALID_PARAMETER_VALUE
    return refused.value.message


def weigh(body: bytes) -> int:
    """Check the weight of a body; the number of turns that other tasks had meanwhile."""

    async def counted() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        try:
            await value_count.check_value_count(body)
        finally:
            task.cancel()
        return turns

    return asyncio.run(counted())


# what is read


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_every_request_has_a_decoder_for_camel_case(cls: type[msgspec.Struct]) -> None:
    decoder = Decoder(cls)
    with pytest.raises(ApiError):
        decoder.from_body(b'{"unknownField": [')
    assert decoder._camel is not None


def test_camel_case_is_read_like_snake_case_however_long_it_is() -> None:
    ids = msgspec.json.encode([str(n) for n in range(3 * MAX_EXPLAINED_VALUES)])
    camel = b'{"experimentIds":%b,"maxResults":5,"runViewType":"ALL","orderBy":["a"]}' % ids
    snake = b'{"experiment_ids":%b,"max_results":5,"run_view_type":"ALL","order_by":["a"]}' % ids
    assert read(SearchRuns, camel) == read(SearchRuns, snake)
    assert type(read(SearchRuns, camel)) is SearchRuns


def test_camel_case_is_read_at_every_depth() -> None:
    found = read(
        SearchLoggedModels,
        b'{"experiment_ids":["1"],"datasets":[{"datasetName":"d"}],"orderBy":[{"fieldName":"f"}]}',
    )
    assert found.datasets[0].dataset_name == "d"
    assert found.order_by[0].field_name == "f"


def test_a_field_that_must_be_there_is_missed_in_camel_case_as_by_mlflow() -> None:
    assert "'run_id'" in refusal(LogBatch, b'{"runId":"a"}')


def test_mixed_spellings_unknown_fields_and_numbers_as_text_are_read_up_to_a_bound() -> None:
    item = b'{"key":"a","value":"1","timestamp":"2","modelId":"m","dataset_name":"d","x":0}'
    found = read(LogBatch, b'{"run_id":"a","metrics":[' + b",".join([item] * 1000) + b"]}")
    assert len(found.metrics) == 1000
    assert (found.metrics[999].timestamp, found.metrics[999].model_id) == (2, "m")


# milliseconds and numbers by name


@pytest.mark.parametrize(
    ("cls", "start", "field"),
    [
        (LogMetric, b'{"run_id":"r","key":"k","value":1,', "timestamp"),
        (CreateRun, b"{", "start_time"),
        (UpdateRun, b'{"run_id":"r",', "end_time"),
    ],
)
def test_a_fraction_of_a_millisecond_is_cut_off(
    cls: type[msgspec.Struct], start: bytes, field: str
) -> None:
    for text, wanted in ((b"1700000000000.75", 1_700_000_000_000), (b"-0.5", 0), (b"1e3", 1000)):
        found = read(cls, start + b'"%b":%b}' % (field.encode(), text))
        assert getattr(found, field) == wanted
        assert type(getattr(found, field)) is int
    for text in (b"1e300", b"NaN", b"Infinity", b"-1e19", b'"1.5"'):
        assert field in refusal(cls, start + b'"%b":%b}' % (field.encode(), text))


def test_a_fraction_of_a_step_is_refused() -> None:
    body = b'{"run_id":"r","metrics":[{"key":"k","value":1,"timestamp":1.5,"step":1.5}]}'
    assert "metrics[0].step" in refusal(LogBatch, body)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_a_metric_may_be_a_number_by_name_with_or_without_quotes(name: str) -> None:
    for text in (name, f'"{name}"'):
        body = f'{{"run_id":"r","key":"k","value":{text},"timestamp":1}}'.encode()
        value = read(LogMetric, body).value
        assert value == float(name) or (math.isnan(value) and name == "NaN")
    assert "'key'" in refusal(
        LogMetric, f'{{"run_id":"r","key":{name},"value":1,"timestamp":1}}'.encode()
    )


def test_a_number_beyond_the_doubles_is_no_infinity() -> None:
    assert "'value'" in refusal(LogMetric, b'{"run_id":"r","key":"k","value":1e400,"timestamp":1}')


def test_an_integer_of_any_length_is_refused_and_never_fails() -> None:
    for digits in (20, 400, 5000, 100_000):
        refusal(LogMetric, b'{"run_id":"r","key":"k","value":1,"timestamp":' + b"1" * digits + b"}")


# texts


def test_nul_is_refused_wherever_it_stands() -> None:
    assert "'value'" in refusal(LogParam, rb'{"run_id":"r","key":"k","value":"a\u0000b"}')
    assert "'tags[1].value'" in refusal(
        LogBatch, rb'{"run_id":"r","tags":[{"key":"a","value":"1"},{"key":"b","value":"\u0000"}]}'
    )
    assert "'order_by[0]'" in refusal(SearchRuns, rb'{"orderBy":["\u0000"]}')
    with pytest.raises(ApiError, match=r"'value'.*NUL"):
        Decoder(SetTag).from_query("run_id=r&key=k&value=a%00b")


def test_the_escape_of_nul_as_text_is_no_nul() -> None:
    assert read(LogParam, rb'{"run_id":"r","key":"k","value":"\\u0000"}').value == r"\u0000"


def test_half_a_character_is_refused() -> None:
    assert "'value'" in refusal(LogParam, rb'{"run_id":"r","key":"k","value":"\ud800"}')


def test_a_text_without_a_limit_of_its_own_has_one() -> None:
    for field in ("run_name", "user_id", "runName"):
        body = b'{"%b":"%b"}' % (field.encode(), b"x" * (MAX_TEXT + 1))
        assert len(refusal(CreateRun, body)) < 1000
    assert len(read(CreateRun, b'{"run_name":"%b"}' % (b"x" * MAX_TEXT)).run_name) == MAX_TEXT


# how much


def test_a_million_items_are_refused_before_any_is_made() -> None:
    for item in (b'{"key":"a"}', b"1", b'"a"', b"[]"):
        with pytest.raises(ApiError, match=f"more than {MAX_BODY_VALUES} values"):
            weigh(b'{"tags":[' + b",".join([item] * 1_000_000) + b"]}")


def test_a_body_with_as_many_values_as_there_may_be_passes() -> None:
    assert weigh(b"[" + b",".join([b"1"] * (MAX_BODY_VALUES + 1)) + b"]")
    with pytest.raises(ApiError):
        weigh(b"[" + b",".join([b"1"] * (MAX_BODY_VALUES + 2)) + b"]")


def test_commas_inside_of_texts_are_no_values_and_others_have_their_turn() -> None:
    text = rb'{"a":"' + rb",\"," * 2_000_000 + rb'"}'
    assert weigh(text) > 5


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b"\\,\\" * 200_000,
        b'"' + b",\\" * 200_001,
        b'"' * 600_001 + b"," * 60_000,
        b'{"a":"' + b"," * 60_000,
    ],
)
def test_a_body_that_is_no_json_is_checked_to_its_end(body: bytes) -> None:
    try:
        weigh(body)
    except ApiError as error:
        assert "more than" in error.message


def test_a_body_that_is_too_large_is_refused() -> None:
    with pytest.raises(ApiError, match=f"exceeds {MAX_JSON_BYTES} bytes") as refused:
        weigh(b" " * (MAX_JSON_BYTES + 1))
    assert refused.value.code == ErrorCode.BAD_REQUEST


@given(
    st.recursive(
        st.integers() | st.text() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=30,
    )
)
def test_values_are_counted_as_json_has_them(value: Any) -> None:
    def commas(node: Any) -> int:
        parts = list(node.values()) if isinstance(node, dict) else node
        if not isinstance(parts, list):
            return 0
        return max(len(parts) - 1, 0) + sum(map(commas, parts))

    body = msgspec.json.encode(value)
    count = commas(value)
    assert not value_count.exceeds(body, max(count, 10))
    if count > 10:
        assert value_count.exceeds(body, count - 1)


@pytest.mark.parametrize(
    "body",
    [
        b'{"run_id":"r","unknown":"' + b"x" * MAX_EXPLAINED_BYTES + b'"}',
        b'{"run_id":"r","metrics":[' + b",".join([b'{"key":"a"}'] * (2 * MAX_EXPLAINED_VALUES)) + b"]}",
        b'{"run_id":"r","modelId":[' + b",".join([b"1"] * (2 * MAX_EXPLAINED_VALUES)) + b"]}",
    ],
    ids=["bytes", "items", "camelCase"],
)  # fmt: skip
def test_a_wrong_body_that_is_large_is_refused_without_reading_it_exactly(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proto, "read_body", None)
    assert "too large to be explained" in refusal(LogBatch, body)


def test_the_first_wrong_item_is_the_one_that_is_named() -> None:
    items = b",".join([b'{"key":"a","value":1,"timestamp":1}'] * 3 + [b'{"key":"a"}'] * 1000)
    assert "metrics[3].value" in refusal(LogBatch, b'{"run_id":"r","metrics":[' + items + b"]}")
