"""Page tokens: encoding, decoding and rejection."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contract.errors import ApiError
from headrace.search import ModelSort, logged_models_page, offset_of, page_token


def test_a_token_is_what_mlflow_makes() -> None:
    """Clients keep tokens when the server changes."""
    assert page_token(2) == "eyJvZmZzZXQiOiAyfQ=="


@given(st.integers(1, 2**63 - 1))
def test_a_token_is_read_back(offset: int) -> None:
    """For every offset."""
    assert offset_of(page_token(offset)) == offset


def test_no_token_is_the_first_page() -> None:
    """Absent or empty."""
    assert offset_of(None) == offset_of("") == 0


REFUSALS = {
    "a": "Invalid page token, could not base64-decode",
    "é": "Invalid page token, could not base64-decode",
    "YWJj": "Invalid page token, decoded value=b'abc'",
    "!!": "Invalid page token, decoded value=b''",
    "e30=": "Invalid page token, parsed value={}",
    base64.b64encode(b'{"offset": 0}').decode(): "Invalid page token, parsed value={'offset': 0}",
    base64.b64encode(b'{"offset": "x"}').decode(): "Invalid page token, not stringable x",
    base64.b64encode(b'{"offset": [1]}').decode(): "Invalid page token, not stringable [1]",
    base64.b64encode(b'{"offset": -1}').decode(): "Invalid page token, parsed value={'offset': -1}",
    base64.b64encode(b"[1]").decode(): "Invalid page token, parsed value=[1]",
    base64.b64encode(b"[" * 700).decode(): "Invalid page token, decoded value=b'[[[",
    base64.b64encode(
        b"[" * 100_000
    ).decode(): "Invalid page token, it has more than 1000 characters",
}


@pytest.mark.parametrize(("token", "message"), REFUSALS.items(), ids=lambda text: text[:30])
def test_a_wrong_token_is_refused(token: str, message: str) -> None:
    """In MLflow's words where it has any; never a 500."""
    with pytest.raises(ApiError) as refused:
        offset_of(token)
    assert refused.value.status == 400
    assert refused.value.message.startswith(message)


def logged_models(token: str | None, text: str | None = "name = 'a'") -> str | None:
    """The token after a full page of one row."""
    page = logged_models_page(
        experiment_ids=["1", "2"],
        filter=text,
        datasets=(),
        order_by=[ModelSort("name", ascending=False)],
        max_results=1,
        page_token=token,
        dialect="sqlite",
    )
    return page.cut([("a",), ("b",)])[1]


def test_a_token_of_logged_models_repeats_the_request() -> None:
    """Like MLflow's, so that each server accepts the other's tokens."""
    token = logged_models(None)
    assert token is not None
    assert base64.b64decode(token) == (
        b'{"experiment_ids": ["1", "2"], "filter_string": "name = \'a\'", "order_by": '
        b'[{"field_name": "name", "ascending": false, "dataset_name": null, '
        b'"dataset_digest": null}], "offset": 1}'
    )
    following = logged_models(token)
    assert following is not None
    assert b'"offset": 2}' in base64.b64decode(following)


def test_a_token_of_logged_models_fits_its_request_only() -> None:
    """Another filter, no JSON, no base64."""
    token = logged_models(None)
    for other, wrong, message in (
        (
            "name = 'b'",
            token,
            "Filter string in the page token does not match the requested filter",
        ),
        (None, token, "string. Expected: None. Found: name = 'a'"),
        ("x", "YWJj", "Invalid page token: YWJj. Expecting value: line 1 column 1 (char 0)"),
        ("x", "a", "Invalid page token: a. "),
        ("x", "NQ==", "Invalid page token: NQ==. Expected a JSON object."),
    ):
        with pytest.raises(ApiError) as refused:
            logged_models(wrong, other)
        assert refused.value.status == 400
        assert message in refused.value.message
