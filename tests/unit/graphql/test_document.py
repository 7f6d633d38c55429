"""The GraphQL parser: what it accepts; it rejects everything else with NotNative."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.graphql.document import Enum, Field, NotNative, Query, Variable, parse

PIECES = [
    "query", "mutation", "fragment", "on", "...", "{", "}", "(", ")", "[", "]", ":", "$", "!", "=",
    "@component", "@", "|", "&", "name", "input", "mlflowGetRun", "__typename", "null", "true",
    '"text"', '"', '""', '"""', "\\", "\\u0041", "1", "-0", "1.5e3", "01", "1x", "#", "# x", "\n", ",",
    "\ufeff", " ", "\x00", "é", "\U0001f600",
]  # fmt: skip


def test_a_query_with_all_supported_syntax() -> None:
    text = """# a comment, with { } in it
    query Q($data: In!, $other: Other) @component(name: "a.b") {
      short: root(input: $data, list: [1, -2.5e1, "x\\u0041\\n", true, null, WORD], o: {a: {b: []}}) {
        __typename, leaf
      }
    }"""
    assert parse(text) == Query(
        "Q",
        {"data": "In!", "other": "Other"},
        (
            Field(
                "short",
                "root",
                {
                    "input": Variable("data"),
                    "list": [1, -25.0, "xA\n", True, None, Enum("WORD")],
                    "o": {"a": {"b": []}},
                },
                (Field("__typename", "__typename", {}, ()), Field("leaf", "leaf", {}, ())),
            ),
        ),
        aliases=1,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "{ a",
        "{ a } { b }",
        "query { a } query { b }",
        "mutation { a }",
        "subscription { a }",
        "{ ...F } fragment F on X { a }",
        "{ ... on X { a } }",
        "{ a @skip(if: true) }",
        "query Q @other { a }",
        "query Q @component(other: 1) { a }",
        "query Q($a: X = 1) { a }",
        "query Q($a: [X]) { a }",
        "{ a a }",
        "{ x: a x: b }",
        "{ a(b: 1, b: 2) }",
        "{ a(b: {c: 1, c: 2}) }",
        "{ a(b: 01) }",
        '{ a(b: """block""") }',
        '{ a(b: "new\nline") }',
        '{ a(b: "\\x") }',
        "{ a: }",
        "é",
        "{" * 5000,
        "{ a(b: " + "[" * 5000,
        "{ a(b: " + "{c: " * 5000,
        "#" * 5000 + "\né",
        "# , " * 5000 + "\n\x00",
        "{ " + " ".join(f"f{n}" for n in range(1001)) + " }",
    ],
)
def test_unsupported_syntax_is_rejected(text: str) -> None:
    with pytest.raises(NotNative):
        parse(text)


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from(["", " "]))
def test_any_text_is_read_or_refused(pieces: list[str], between: str) -> None:
    try:
        query = parse(between.join(pieces))
    except NotNative:
        return
    assert query.fields


@given(st.text(max_size=200))
def test_any_string_comes_back_as_it_was_written(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    for code in range(32):
        quoted = quoted.replace(chr(code), f"\\u{code:04x}")
    assert parse(f'{{ a(b: "{quoted}") }}').fields[0].arguments == {"b": text}


def test_aliases_are_counted_in_the_selection_that_has_the_most() -> None:
    assert parse("{ a: root { b: x c: y d { e: z } } }").aliases == 2
    assert parse("{ root { x } }").aliases == 0


@pytest.mark.parametrize(
    "text",
    [
        "{ root(input: " + "1" * 5000 + ") { x } }",
        '{ root(input: "\\ud800") { x } }',
        "{ root { x } } #" + "x" * 70_000,
    ],
    ids=["a long number", "half a character", "a long text"],
)
def test_what_python_or_a_database_cannot_take_is_left_to_stock(text: str) -> None:
    with pytest.raises(NotNative):
        parse(text)
