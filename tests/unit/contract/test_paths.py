"""Paths and URIs of clients are read in the same way in every field."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.registry.versions.source import check_contained
from headrace.contract.artifact_uri import PLAIN, append_path, check_query
from headrace.contract.errors import ApiError
from headrace.contract.paths import MAX_DECODINGS, TooManyLayers, climbs, decoded
from headrace.storage import paths

if TYPE_CHECKING:
    from collections.abc import Callable


def encoded(text: str, layers: int) -> str:
    """The text with that many layers of percent-encoding on every character."""
    text = "".join(f"%{byte:02x}" for byte in text.encode()) if layers else text
    for _ in range(layers - 1):
        text = quote(text)
    return text


def check_source(path: str) -> None:
    check_contained(f"s3://bucket/{path}", "", "", None)


CHECKS: list[Callable[[str], object]] = [
    paths.safe,
    check_query,
    check_source,
    lambda path: append_path(f"s3://bucket/a?{path}", "run"),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("layers", [0, 1, 2, MAX_DECODINGS - 1, MAX_DECODINGS, 200])
def test_a_parent_directory_is_refused_under_any_number_of_layers(
    check: Callable[[str], object], layers: int
) -> None:
    with pytest.raises(ApiError) as refusal:
        check(f"a/{encoded('..', layers)}/b")
    assert refusal.value.status == 400


@pytest.mark.parametrize("check", CHECKS)
def test_a_harmless_path_is_read_through_nine_layers_and_refused_beyond(
    check: Callable[[str], object],
) -> None:
    check(f"a/{encoded('x', MAX_DECODINGS - 1)}")
    with pytest.raises(ApiError):
        check(f"a/{encoded('x', MAX_DECODINGS)}")


def test_the_work_for_a_path_does_not_grow_with_its_layers() -> None:
    """Counted in decoding passes: a text of n characters may have n/2 layers."""
    calls = 0

    def layer(text: str) -> str:
        nonlocal calls
        calls += 1
        return text.replace("%25", "%")

    with pytest.raises(TooManyLayers):
        decoded("%" + "25" * 100_000, layer)
    assert calls == MAX_DECODINGS


def test_only_a_whole_segment_of_two_dots_climbs() -> None:
    assert climbs("a/../b")
    assert climbs("..")
    assert not climbs("a..b/...")


@given(st.from_regex(PLAIN, fullmatch=True))
def test_the_statement_appends_to_a_plain_location_as_append_path_does(location: str) -> None:
    assert append_path(location, "run", "artifacts") == f"{location}/run/artifacts"


@pytest.mark.parametrize(
    "location",
    [
        "s3://b/a?x=1",
        "s3://b/a/",
        "s3://b/a#f",
        "file:a",
        "S3://b",
        "s3:///a",
        "//a",
        "/a;b",
        "",
        "/a\n",
    ],
)
def test_a_location_that_needs_more_is_not_plain(location: str) -> None:
    assert PLAIN.fullmatch(location) is None
