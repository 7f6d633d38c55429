"""Conditional requests and byte ranges: every header is understood or ignored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.http.conditions import (
    Malformed,
    Span,
    Unsatisfiable,
    byte_range,
    date,
    not_modified,
    several,
    single,
    tags,
)

ETAG = '"abc"'
MODIFIED_S = 1_600_000_000  # Sun, 13 Sep 2020 12:26:40 GMT
TEXTS = st.text(st.characters(max_codepoint=255), max_size=60)
HEADERS = st.dictionaries(
    st.sampled_from(["range", "if-range", "if-none-match", "if-modified-since"]),
    TEXTS
    | st.sampled_from(
        [
            ETAG,
            f"W/{ETAG}",
            "*",
            "bytes=0-",
            "bytes=-5",
            "bytes=5-2",
            "bytes=99999999999999999999-",
            "bytes=0-" + "1" * 5000,
            "bytes=-" + "9" * 5000,
            "bytes=" + "0" * 5000 + "-2",
            "Mon, 01 Jan 2024 00:00:00 -0000",
            "Mon, 01 Jan 2024 00:00:00 +" + "1" * 5000,
            "Mon, 01 Jan 99999 00:00:00 GMT",
            "Sun, 13 Sep 2020 12:26:40 GMT",
            "Mon, 01 Jan 2020 00:00:00 +99999999999999999999",
            "Mon, 01 Jan 0001 00:00:00 -2359",
        ]
    ),
)


@given(HEADERS, st.integers(0, 1000))
def test_any_headers_are_understood_or_ignored(headers: dict[str, str], size: int) -> None:
    assert isinstance(not_modified(headers, ETAG, MODIFIED_S), bool)
    try:
        window = byte_range(headers, size, ETAG, MODIFIED_S)
    except Unsatisfiable:
        return
    if window is not None:
        start, stop = window
        assert 0 <= start < stop <= size


@given(HEADERS, st.integers(0, 1000))
def test_any_download_headers_are_understood_or_refused(headers: dict[str, str], size: int) -> None:
    for header in headers.values():
        assert isinstance(date(header), int | None)
        assert isinstance(tags(header), list)
        for spans in (several, single):
            try:
                found = spans(header, size)
            except (Malformed, Unsatisfiable):
                continue
            for start, stop in [found] if isinstance(found, Span) else found:
                assert 0 <= start < stop <= size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 13 Sep 2020 12:26:40 GMT", MODIFIED_S),
        ("Sun, 13 Sep 2020 12:26:40 -0000", MODIFIED_S),
        ("Sun, 13 Sep 2020 14:26:40 +0200", MODIFIED_S),
        ("Sun, 13 Sep 2020 12:26:40 +99999999999999999999", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_is_universal_time_or_no_date(text: str | None, seconds: int | None) -> None:
    assert date(text) == seconds


@pytest.mark.parametrize("digits", ["9" * 20, "9" * 5000])
def test_an_offset_of_any_length_lies_behind_the_end(digits: str) -> None:
    assert byte_range({"range": f"bytes=0-{digits}"}, 10, ETAG, MODIFIED_S) == (0, 10)
    assert single(f"bytes=3-{digits}", 10) == (3, 10)
    with pytest.raises(Unsatisfiable):
        single(f"bytes={digits}-", 10)


@pytest.mark.parametrize(
    ("header", "value", "current"),
    [
        ("if-none-match", ETAG, True),
        ("if-none-match", f'"x", W/{ETAG}', True),
        ("if-none-match", "*", True),
        ("if-none-match", '"x"', False),
        ("if-modified-since", "Sun, 13 Sep 2020 12:26:40 GMT", True),
        ("if-modified-since", "Sun, 13 Sep 2020 12:26:39 GMT", False),
        ("if-modified-since", "yesterday", False),
    ],
)
def test_a_current_copy_is_recognised(header: str, value: str, current: bool) -> None:
    assert not_modified({header: value}, ETAG, MODIFIED_S) is current


def test_an_etag_counts_for_more_than_a_date() -> None:
    headers = {"if-none-match": '"x"', "if-modified-since": "Sun, 13 Sep 2020 12:26:40 GMT"}
    assert not not_modified(headers, ETAG, MODIFIED_S)
