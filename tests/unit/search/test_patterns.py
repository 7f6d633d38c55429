"""The length of a regular expression with its repetitions written out."""

from __future__ import annotations

import pytest

from headrace.contract.errors import ApiError
from headrace.search.patterns import check_pattern, written_out

SIZES = {
    "": 0,
    "abc": 3,
    "a?b*": 4,
    "a{20}": 20,
    "a{2,}b{0,3}": 5,
    "(ab){3}": 12,
    "((a{2}){3}){4}": 56,
    r"\({2}": 4,
    "a{x}": 4,
    ")(": 1,
    "{5}": 0,
}


@pytest.mark.parametrize(("pattern", "size"), SIZES.items())
def test_repetitions_are_written_out(pattern: str, size: int) -> None:
    assert written_out(pattern) == size


@pytest.mark.parametrize("pattern", ["a?" * 400, "(.|b?){0,90}" * 16, "((.{0,20}){0,20}){0,20}"])
def test_a_pattern_that_takes_long_to_compile_is_refused(pattern: str) -> None:
    with pytest.raises(ApiError, match="at most 700 characters"):
        check_pattern(pattern, as_python=False)


@pytest.mark.parametrize("pattern", ["(", "[", "*a", "a{2,1}"])
def test_a_pattern_that_python_does_not_read_is_refused(pattern: str) -> None:
    check_pattern(pattern, as_python=False)
    with pytest.raises(ApiError, match="Invalid regular expression"):
        check_pattern(pattern, as_python=True)
