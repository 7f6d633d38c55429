"""Artifact paths: our check is compared with stock MLflow's own function."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.utils.uri import validate_path_is_safe

from headrace.contract.errors import ApiError
from headrace.storage import paths

PIECES = [
    *(
        "a",
        "b",
        ".",
        "..",
        "...",
        "/",
        "//",
        "\\",
        " ",
        "-",
        "_",
        "~",
        "*",
        "é",
        "\uff0e",
        "\u202e",
        "\u3000",
    ),
    *("%2e", "%2E", "%252e", "%25252e", "%2f", "%252f", "%5c", "%00", "%0a", "%1f", "%20", "%23"),
    *("%2523", "%3f", "%c3%a9", "%ff", "%", "%%", "%2", "%25", "%2525", "\x00", "\n", "\r", "\t"),
    *(
        "#",
        "?",
        ";",
        "&",
        "=",
        ":",
        "@",
        "+",
        "[",
        "]",
        "C:",
        "c:/",
        "C:\\",
        "\\\\",
        "file:",
        "FILE:",
    ),
    *("file%3a", "http:", "s3://", "\x7f", "\x1f"),
]


def stock_says(path: str) -> str | None:
    """The path as stock accepts it; None if it refuses the path or crashes."""
    try:
        return str(validate_path_is_safe(path))
    except (MlflowException, ValueError):
        return None


def we_say(path: str) -> str | None:
    """The path as headrace accepts it; None if it refuses the path."""
    try:
        return paths.safe(path)
    except ApiError as error:
        assert (error.status, error.message) == (400, "Invalid path")
        return None


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join))
@example("1/0123456789abcdef/artifacts/model/MLmodel")
@example("a/%252e%252e/b")
@example("%25" * 12 + "2e")
def test_a_path_is_accepted_as_by_stock(path: str) -> None:
    stock = stock_says(path)
    if stock == "" and "file" in path.lower():
        stock = None  # "file:" alone: stock takes it as the root, headrace refuses every file:
    assert we_say(path) == stock


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../b",
        "a/../b",
        "a/..",
        "%2e%2e/b",
        "%252e%252e/b",
        "%25252e%25252e%25252fb",
        "..%2fb",
        "a%2f..%2fb",
        "/etc/passwd",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "%252fetc",
        "C:/x",
        "C:\\x",
        "C:%5cx",
        "\\\\server\\share",
        "file:/etc/passwd",
        "file:///etc/passwd",
        "file:x",
        "FILE:/etc/passwd",
        "file%3a/etc/passwd",
        "a#b",
        "a%23b",
        "a%2523b",
        "//[a",
        "http://[x",
    ],
)
def test_every_spelling_of_a_way_out_is_refused(path: str) -> None:
    assert we_say(path) is None


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("a%20b", "a b"),
        ("a%2520b", "a b"),
        ("a%2fb", "a/b"),
        ("a\x00b", "a%00b"),
        ("a%00b", "a%00b"),
        ("a\x7fb", "a%7fb"),
        ("..\\b", "..\\b"),  # a plain name on systems whose separator is a slash
        ("...", "..."),
        ("a/..b", "a/..b"),
        ("a?b", "a?b"),
        ("a?", "a"),
        ("~/x", "~/x"),
        ("", ""),
        ("a/", "a/"),
    ],
)
def test_a_harmless_path_keeps_its_meaning(path: str, meaning: str) -> None:
    assert we_say(path) == meaning


@pytest.mark.parametrize(
    ("path", "target"), [("a", "a"), ("a/b", "a/b"), ("a//b", "a/b"), (".hidden", ".hidden")]
)
def test_a_file_can_be_written_to(path: str, target: str) -> None:
    assert paths.upload_target(path) == target


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a/./b", "Invalid artifact path: 'a/.'"),
        ("./b", "Invalid artifact path: '.'"),
        ("x//y/b", "This name would resolve to 'x/y'"),
        (".artifact.uploading.x", "are reserved"),
        ("d/.artifact.uploading.x", "are reserved"),
        (".", "refers to a directory"),
        ("a/.", "refers to a directory"),
    ],
)
def test_a_file_cannot_be_written_to(path: str, says: str) -> None:
    with pytest.raises(ApiError, match=says.replace("(", r"\(")) as refusal:
        paths.upload_target(path)
    assert refusal.value.status == 400
