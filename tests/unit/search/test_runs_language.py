"""The filter and order_by of runs: their meaning, and the messages for invalid ones."""

from __future__ import annotations

import pytest

from headrace.contract.errors import ApiError
from headrace.search.runs import check_operators, parse_filter, parse_order_by
from headrace.search.tree import Condition, SortKey

MEANINGS = {
    "metrics.loss < 0.5": ("metric", "loss", "<", 0.5),
    "metric.`val loss` >= 1e-3": ("metric", "val loss", ">=", 0.001),
    'metrics."a.b" = -1': ("metric", "a.b", "=", -1.0),
    "metrics.top.1k != .5": ("metric", "top.1k", "!=", 0.5),
    "params.lr = '0.1'": ("parameter", "lr", "=", "0.1"),
    'param.lr = "it\'s"': ("parameter", "lr", "=", "it's"),
    "parameters.lr = 'it''s'": ("parameter", "lr", "=", "it''s"),
    "params.order LIKE '%x_'": ("parameter", "order", "LIKE", "%x_"),
    "tags.mlflow.runName ilike 'A'": ("tag", "mlflow.runName", "ILIKE", "A"),
    "tag.t is null": ("tag", "t", "IS NULL", None),
    "params.p IS NOT NULL": ("parameter", "p", "IS NOT NULL", None),
    "status != 'FAILED'": ("attribute", "status", "!=", "FAILED"),
    "attr.status = 'x'": ("attribute", "status", "=", "x"),
    "run.user_id = 'x'": ("attribute", "user_id", "=", "x"),
    "`Run name` = 'x'": ("attribute", "run_name", "=", "x"),
    "Created > 5": ("attribute", "start_time", ">", 5),
    "attributes.end_time <= 1.5": ("attribute", "end_time", "<=", 1.5),
    "run_id IN ('a', \"b\")": ("attribute", "run_id", "IN", ("a", "b")),
    "run_id not in ('a',)": ("attribute", "run_id", "NOT IN", ("a",)),
    "datasets.context IN ('train')": ("dataset", "context", "IN", ("train",)),
    "dataset.digest LIKE 'd%'": ("dataset", "digest", "LIKE", "d%"),
    "params.ключ = '日本'": ("parameter", "ключ", "=", "日本"),
}


@pytest.mark.parametrize(("text", "meaning"), MEANINGS.items())
def test_a_comparison_is_understood(text: str, meaning: tuple[str, str, str, object]) -> None:
    """Aliases are resolved, quotes are gone, operators are in upper case."""
    conditions = parse_filter(text)
    assert conditions == (Condition(*meaning),)  # type: ignore[arg-type]
    check_operators(conditions)


@pytest.mark.parametrize(
    "text",
    [
        "metrics.a > 1 AND params.b = 'x'",
        "metrics.a > 1 and params.b = 'x'",
        "metrics.a > 1 params.b = 'x'",
        "AND metrics.a > 1 AND AND params.b = 'x' AND",
        "metrics.a>1 params.b='x'AND",
        "\n metrics.a\t> 1\nAND params . b = 'x' ".replace(" . ", "."),
    ],
)
def test_and_is_optional_and_white_space_is_free(text: str) -> None:
    """As MLflow reads it."""
    assert [str(condition) for condition in parse_filter(text)] == [
        "metric.`a` > 1.0",
        "parameter.`b` = 'x'",
    ]


REFUSALS = {
    " ": "Invalid filter ' '. Could not be parsed.",
    "status = 'a'; status = 'b'": (
        "Search filter contained multiple expression \"status = 'a'; status = 'b'\". "
        "Provide AND-ed expression list."
    ),
    "metrics.loss": "Invalid clause(s) in filter string: 'metrics.loss'",
    "metrics.a > 1 OR": "Invalid clause(s) in filter string: 'OR'",
    "(status = 'a') b": "Invalid clause(s) in filter string: '(status = 'a') b'",
    "params.p = none": "Invalid clause(s) in filter string: 'params.p', '=', 'none'",
    "params.in = 'x'": "Invalid clause(s) in filter string: 'params.', 'in', '=', ''x''",
    "metrics.a > 1, metrics.b > 2": (
        "Invalid clause(s) in filter string: 'metrics.a > 1, metrics.b > 2'"
    ),
    "metrics.a > 1 ORDER BY status": "Invalid clause(s) in filter string: 'ORDER BY', 'status'",
    "1 = 1": "Invalid comparison clause. Expected 'Identifier' found '1'",
    "metrics.a /* x */ > 1": ("Invalid clause(s) in filter string: 'metrics.a /* x */', '>', '1'"),
    "metrics.a > 1 -- x\nAND status = 'a'": (
        "Invalid comparison clause. Expected 3 tokens found 4"
    ),
    "bogus.x = 1": (
        "Invalid entity type 'bogus'. Valid values are "
        "['metric', 'parameter', 'tag', 'attribute', 'dataset']"
    ),
    "bogus = 'x'": (
        "Invalid attribute key 'bogus' specified. Valid keys are '{'Created', 'Run Name', "
        "'Run name', 'artifact_uri', 'created', 'end_time', 'run name', 'run_id', 'run_name', "
        "'start_time', 'status', 'user_id'}'"
    ),
    "dataset.bogus = 'x'": (
        "Invalid dataset key 'bogus' specified. Valid keys are '{'context', 'digest', 'name'}'"
    ),
    "metrics.a > 'x'": "Expected numeric value type for metric. Found 'x'",
    "params.p = 0.1": (
        "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 0.1"
    ),
    "tags.t = x": (
        "Parameter value is either not quoted or unidentified quote types used for string value "
        "x. Use either single or double quotes."
    ),
    "status = 1": "Expected a quoted string value for attributes. Got value 1",
    "start_time = 'x'": (
        "Expected numeric value type for numeric attribute: start_time. Found 'x'"
    ),
    "created = 'x'": "Expected numeric value type for numeric attribute: created. Found 'x'",
    "dataset.name = 1": "Expected a quoted string value for dataset attributes. Got value 1",
    "status IN ('a')": (
        "Only ['run_id'] attributes support comparison with a list of quoted string values."
    ),
    "run_id IN ()": (
        "While parsing a list in the query, expected a non-empty list of string values, "
        "but got empty list"
    ),
    "run_id IN (1)": (
        "While parsing a list in the query, expected string value, punctuation, or whitespace, "
        "but got different type in list: (1,)"
    ),
    "run_id IN ('a' b)": (
        "While parsing a list in the query, expected a non-empty list of string values, "
        "but got ill-formed list."
    ),
    "run_id IN (a)": "got ill-formed list.",
    "metrics.a IS NULL": (
        "IS NULL / IS NOT NULL is only supported for tags and params, not for 'metric' 'a'"
    ),
    "metrics.a LIKE 1": ("Invalid comparator 'LIKE' not one of '{'!=', '<', '<=', '=', '>', '>='}"),
    "params.p > 'x'": (
        "Invalid comparator '>' not one of '{'!=', '=', 'ILIKE', 'IS NOT NULL', 'IS NULL', 'LIKE'}'"
    ),
    "status > 'x'": (
        "Invalid comparator '>' not one of '{'!=', '=', 'ILIKE', 'IN', 'LIKE', 'NOT IN'}'"
    ),
    "start_time LIKE 1": (
        "Invalid comparator 'LIKE' not one of '{'!=', '=', 'ILIKE', 'IN', 'LIKE', 'NOT IN'}"
    ),
    "params.p <> 'x'": "Invalid comparator '<>' not one of",
    "params.p NOT LIKE 'x'": "Invalid comparator 'NOT LIKE' not one of",
    "run_id = ('a')": "Comparator '=' does not take a list of values",
}


@pytest.mark.parametrize(("text", "message"), REFUSALS.items())
def test_a_wrong_filter_is_refused_in_mlflows_words(text: str, message: str) -> None:
    """Status 400; sets are printed in one order."""
    with pytest.raises(ApiError) as refused:
        check_operators(parse_filter(text))
    assert refused.value.status == 400
    assert message in refused.value.message


def test_a_filter_may_be_long() -> None:
    """A list of ten thousand ids is one value, and nothing is quadratic in it."""
    ids = tuple(f"{number:032x}" for number in range(10_000))
    text = f"run_id IN ({', '.join(map(repr, ids))})"
    assert parse_filter(text) == (Condition("attribute", "run_id", "IN", ids),)


@pytest.mark.parametrize("text", ["(" * 100_000, "[" * 100_000, "'" * 100_001, "`" * 100_001])
def test_hostile_nesting_is_refused(text: str) -> None:
    """Neither recursion nor time runs out."""
    with pytest.raises(ApiError):
        parse_filter(text)
    with pytest.raises(ApiError):
        parse_filter(f"run_id IN {text}{')' * 100_000}")


SORTS = {
    "metrics.loss": ("metric", "loss", True),
    "metrics.`val loss` DESC": ("metric", "val loss", False),
    'params."a b" asc': ("parameter", "a b", True),
    "tags.mlflow.runName Desc": ("tag", "mlflow.runName", False),
    "start_time": ("attribute", "start_time", True),
    "attributes.Created DESC": ("attribute", "start_time", False),
    "run_name": ("attribute", "run_name", True),
}


@pytest.mark.parametrize(("text", "key"), SORTS.items())
def test_an_order_is_understood(text: str, key: tuple[str, str, bool]) -> None:
    """Ascending unless it says DESC."""
    assert parse_order_by([text]) == (SortKey(*key),)


SORT_REFUSALS = {
    "": "Invalid order_by clause ''. Could not be parsed.",
    "metrics.loss ": "Invalid order_by clause 'metrics.loss '. Could not be parsed.",
    "metrics.a, metrics.b": "Invalid order_by clause 'metrics.a, metrics.b'. Could not be parsed.",
    "metrics.a ASC NULLS LAST": (
        "Invalid order_by clause 'metrics.a ASC NULLS LAST'. Could not be parsed."
    ),
    "metrics.loss UP": "Invalid ordering key in order_by clause 'metrics.loss UP'.",
    "dataset.name": "Invalid identifier type 'dataset'",
    "bogus.x": (
        "Invalid entity type 'bogus'. Valid values are "
        "['metric', 'parameter', 'tag', 'attribute', 'dataset']"
    ),
    "bogus": (
        "Invalid attribute key 'bogus' specified. Valid keys are '{'Created', 'artifact_uri', "
        "'created', 'end_time', 'run_id', 'run_name', 'start_time', 'status', 'user_id'}'"
    ),
}


@pytest.mark.parametrize(("text", "message"), SORT_REFUSALS.items())
def test_a_wrong_order_is_refused_in_mlflows_words(text: str, message: str) -> None:
    """INVALID_PARAMETER_VALUE."""
    with pytest.raises(ApiError) as refused:
        parse_order_by([text])
    assert (refused.value.status, refused.value.message) == (400, message)


def test_a_field_is_sorted_by_once() -> None:
    """MLflow answers a repetition, aliases included, with its INTERNAL_ERROR."""
    with pytest.raises(ApiError) as refused:
        parse_order_by(["created", "metrics.a", "start_time DESC"])
    assert refused.value.status == 500
    assert refused.value.message == (
        "`order_by` contains duplicate fields: ['created', 'metrics.a', 'start_time DESC']"
    )


def test_what_no_database_could_answer_is_refused() -> None:
    """More comparisons, tokens or sort keys than PostgreSQL plans and SQLite survives."""
    many = " AND ".join(f"metrics.m{number} > 1" for number in range(501))
    with pytest.raises(ApiError, match="at most 500 comparisons"):
        parse_filter(many)
    with pytest.raises(ApiError, match="Error on parsing filter"):
        parse_filter("a " * 10_001)
    with pytest.raises(ApiError, match="at most 30 fields"):
        parse_order_by([f"metrics.m{number}" for number in range(31)])
    with pytest.raises(ApiError, match="Error on parsing order_by clause"):
        parse_order_by(["a " * 10_001])
