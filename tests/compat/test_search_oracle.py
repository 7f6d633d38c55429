"""Searches by MLflow's own stores and by headrace on the same rows: the same ids, or the same refusal.

The cases are lines of search_cases/; intended differences are in REFUSED_BY_US, with reasons.
"""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fix_postgres import fresh_database
from tests.search_population import PostgresSearch, SqliteSearch, tables

from headrace import search
from headrace.contract.errors import ApiError
from headrace.search.runs import parse_filter, parse_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.search_population import Search

pytestmark = pytest.mark.compat

CASES: Final = Path(__file__).parent / "search_cases"
STAGES: Final = ("active", "deleted")
FIRST: Final = 40  # rows of a page: fewer than some searches find
Outcome = tuple[str, ...]
Ask = Callable[[str], list[str]]

# Cases with white space that a file of lines does not keep.
MORE: Final = {
    "runs.filters": (
        " ",
        "\n",
        "metrics.k > 0 -- x\nAND params.k = 'a'",
        "-- x\nmetrics.k > 0",
        "metrics.k > 0\nAND params.k != 'a'",
        "params.k\t=\n'a'\r\n",
        " metrics.k > 0 ",
        "metrics.k > 0; ",
        "params.k = 'a\nb'",
    ),
    "runs.orders": ("", " ", "metrics.k DESC ", "metrics.k\nDESC"),
    "logged_models.filters": (" ", "name = 'a'\nAND name != 'b'"),
}
# Cases that headrace refuses with 400 on purpose, and why: MLflow's result is accidental, or a 500.
LIST_FOR_ONE = "a list where one value belongs: PostgreSQL's driver takes it, SQLite's refuses it"
UNREADABLE = "a list or a quote that Python cannot read: its error leaks out of MLflow as a 500"
REFUSED_BY_US: Final = {
    "run_id = ('a')": LIST_FOR_ONE,
    "run_id LIKE ('a')": LIST_FOR_ONE,
    "run_id IN (a)": UNREADABLE,
    "run_id IN (f'a')": UNREADABLE,
    'metrics."k DESC': UNREADABLE,
    "metrics.`k": UNREADABLE,
}


# Cases that only headrace accepts; tests/sql/test_search_boolean.py tests what they find.
BOOLEAN: Final = frozenset(
    (
        "tags.k = 'a' OR tags.k = 'ab'",
        "(name = 'a1')",
        "name = 'a' OR name = 'b'",
        "(name = 'a')",
        "params.k = 'a' OR params.K = 'b'",
        "NOT params.k = 'a'",
        "(params.k = 'a')",
        "(params.k = 'a') AND params.K = 'b'",
        "metrics.k > 0 AND NOT params.k = 'a'",
        "params.k = 'a' or params.K = 'b'",
        "params.k = 'a' AND (params.K = 'b')",
        "params.k = 'a' AND(params.K = 'b')",
    )
)
# Cases of experiments that MLflow 3.18 answers otherwise than the installed 3.17, and headrace with it:
# each with the words of 3.17 for the same search. The dialogues of newer_318.py ask a server of 3.18.
IN_WORDS_OF_3_17: Final = {
    "name like 'a%'": "name LIKE 'a%'",
    "name ilike 'a%'": "name ILIKE 'a%'",
    "attributes.name = 'a1'": "attribute.name = 'a1'",
    "experiment_id in ('1', '2')": "experiment_id IN ('1', '2')",
    "creation_time like 1": "creation_time LIKE 1",
    "tags.k like 'a%'": "tags.k LIKE 'a%'",
    "attributes.name": "attribute.name",
}
ENTITIES_OF_3_17: Final = "('attribute', 'tag', 'tags')"
ENTITIES: Final = "('attribute', 'attributes', 'tag', 'tags')"
# The newest point of a logged model's metric must satisfy a filter; in 3.17 any of its points may.
NEWEST_POINTS: Final[dict[str, Callable[[float], bool]]] = {
    "metrics.k > 0": lambda value: value > 0,
    "metrics.k >= 0 AND metrics.k < 1": lambda value: 0 <= value < 1,
    "metrics.k = 0.1": lambda value: value == 0.1,
    "metrics.k < -1e300": lambda value: value < -1e300,
    "metrics.k > 1_0": lambda value: value > 10,
}


@dataclass
class Stock:
    """MLflow's stores on the database that we search."""

    tracking: Any  # mlflow ships no usable types
    registry: Any


@contextmanager
def stock_stores(uri: str, root: Path) -> Iterator[Stock]:
    """The stores, without the warnings of mlflow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

        stock = Stock(Tracking(uri, f"file://{root}"), Registry(uri))
        try:
            yield stock
        finally:
            stock.tracking.engine.dispose()
            stock.registry.engine.dispose()


@pytest.fixture(scope="module")
def both(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Search, Stock]]:
    """One database with the population: our search and MLflow's."""
    root = tmp_path_factory.mktemp("oracle")
    if database == "sqlite":
        ours: Search = SqliteSearch(str(root / "mlflow.db"))
        with stock_stores(f"sqlite:///{root}/mlflow.db", root) as stock:
            yield ours, stock
        ours.close()
        return
    server = request.getfixturevalue("postgres_server")
    template = request.getfixturevalue("postgres_template")
    with fresh_database(server, template) as uri:
        ours = PostgresSearch(uri)
        with stock_stores(uri.replace("://", "+psycopg2://", 1), root) as stock:
            yield ours, stock
        ours.close()


def outcome(ask: Ask, case: str) -> Outcome:
    """Ids found, or how the search was refused: ("refused", code, message).

    A code is "crash" when MLflow lets an exception of Python's escape: its server answers with a 500.
    """
    from mlflow.exceptions import MlflowException

    try:
        return ("found", *ask(case))
    except ApiError as refusal:
        code, message = refusal.code.value, refusal.message
    except MlflowException as refusal:
        code, message = refusal.error_code, refusal.message
    except asyncpg.DataError as refusal:  # 400, as DataRejected
        code, message = "BAD_REQUEST", str(refusal)
    except Exception as crash:  # noqa: BLE001 whatever MLflow lets escape
        return "refused", "crash", repr(crash)
    return "refused", code, re.sub(r"\{.*?\}", in_order, message)


def in_order(printed_set: re.Match[str]) -> str:
    """MLflow prints sets, in an order that changes from process to process."""
    return "{" + ", ".join(sorted(printed_set.group().strip("{}").split(", "))) + "}"


def cases(name: str) -> list[str]:
    """The lines of a file of cases, and those that lines cannot hold."""
    found = [*(CASES / name).read_text().splitlines(), *MORE.get(name, ())]
    assert len(found) == len(set(found)) > 15
    return found


def difference(case: str, stock: Outcome, ours: Outcome) -> str | None:
    """The fault of our outcome, or None."""
    refused = ours[:2] in (("refused", "INVALID_PARAMETER_VALUE"), ("refused", "BAD_REQUEST"))
    if case in BOOLEAN:
        fine = stock[0] == "refused" and ours[0] == "found"
    elif case in REFUSED_BY_US or stock[1:2] == ("crash",):
        fine = refused
    elif stock[1:2] == (
        "INTERNAL_ERROR",
    ):  # a 500, too: often a Python exception, explained by us as a 400
        fine = refused or ours == stock
    elif stock[1:2] == ("BAD_REQUEST",):  # the message is the driver's
        fine = ours[:2] == stock[:2]
    else:
        fine = ours == stock
    return None if fine else f"{case!r}\n    stock {stock}\n    ours  {ours}"


def compare(name: str, stock: Ask, ours: Ask) -> None:
    """Every case of a file; the failure lists all that differ."""
    differences = []
    for case in cases(name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = outcome(stock, case)
        differences.append(difference(case, expected, outcome(ours, case)))
    wrong = [text for text in differences if text]
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong)


def paged(ours: Search, first: search.Page, key: slice) -> list[str]:
    """Ids of a page of ours, with "next" at the end when there is a token."""
    rows, token = first.cut(ours.rows(first))
    return [":".join(map(str, row[key])) for row in rows] + (["next"] if token else [])


def shown(found: Any, *names: str) -> list[str]:
    """The same of a page of MLflow's."""
    ids = [":".join(str(getattr(one, name)) for name in names) for one in found]
    return ids + (["next"] if found.token else [])


Both = tuple["Search", Stock]


def stock_runs(stock: Stock, text: str, order_by: list[str]) -> list[str]:
    """Run ids that MLflow finds."""
    from mlflow.entities import ViewType

    found = stock.tracking.search_runs(["1", "2"], text, ViewType.ALL, FIRST, order_by)
    return [run.info.run_id for run in found] + (["next"] if found.token else [])


def our_runs(ours: Search, text: str, order_by: list[str]) -> list[str]:
    """Run ids that we find."""
    page = search.runs_page(
        experiment_ids=[1, 2],
        filter=text,
        order_by=order_by,
        stages=STAGES,
        max_results=FIRST,
        page_token=None,
        dialect=ours.dialect,
    )
    return paged(ours, page, slice(0, 1))


def test_filters_of_runs(both: Both) -> None:
    """Runs, whatever the filter."""
    ours, stock = both
    compare(
        "runs.filters",
        lambda case: stock_runs(stock, case, []),
        lambda case: our_runs(ours, case, []),
    )


def test_orders_of_runs(both: Both) -> None:
    """Runs in the order asked for, alone and after another key."""
    ours, stock = both
    for others in ([], ["status DESC"]):
        compare(
            "runs.orders",
            lambda case, others=others: stock_runs(stock, "", [*others, case]),
            lambda case, others=others: our_runs(ours, "", [*others, case]),
        )


def stock_experiments(stock: Stock, text: str, order_by: list[str]) -> list[str]:
    """Experiment ids that MLflow finds, asked in the words of 3.17. Its refusals name the entities of 3.18."""
    from mlflow.entities import ViewType
    from mlflow.exceptions import MlflowException

    text, *order_by = (IN_WORDS_OF_3_17.get(case, case) for case in (text, *order_by))
    try:
        found = stock.tracking.search_experiments(ViewType.ALL, FIRST, text, order_by)
    except MlflowException as refusal:
        refusal.message = refusal.message.replace(ENTITIES_OF_3_17, ENTITIES)
        raise
    return shown(found, "experiment_id")


def our_experiments(ours: Search, text: str, order_by: list[str]) -> list[str]:
    """Experiment ids that we find."""
    page = search.experiments_page(
        filter=text,
        order_by=order_by,
        stages=STAGES,
        max_results=FIRST,
        page_token=None,
        dialect=ours.dialect,
    )
    return paged(ours, page, slice(0, 1))


def test_filters_of_experiments(both: Both) -> None:
    """Experiments, whatever the filter."""
    ours, stock = both
    compare(
        "experiments.filters",
        lambda case: stock_experiments(stock, case, []),
        lambda case: our_experiments(ours, case, []),
    )


def test_orders_of_experiments(both: Both) -> None:
    """Experiments in the order asked for."""
    ours, stock = both
    compare(
        "experiments.orders",
        lambda case: stock_experiments(stock, "", [case]),
        lambda case: our_experiments(ours, "", [case]),
    )


def our_models(ours: Search, text: str, order_by: list[str]) -> list[str]:
    """Names of the registered models that we find."""
    page = search.registered_models_page(
        filter=text, order_by=order_by, max_results=5, page_token=None, dialect=ours.dialect
    )
    return paged(ours, page, slice(0, 1))


def test_filters_of_registered_models(both: Both) -> None:
    """Registered models, whatever the filter; prompts only when asked for."""
    ours, stock = both
    compare(
        "registered_models.filters",
        lambda case: shown(stock.registry.search_registered_models(case, 5), "name"),
        lambda case: our_models(ours, case, []),
    )


def test_orders_of_registered_models(both: Both) -> None:
    """Registered models in the order asked for, alone and twice."""
    ours, stock = both
    for others in ([], ["name"]):
        compare(
            "registered_models.orders",
            lambda case, others=others: shown(
                stock.registry.search_registered_models("", 5, [*others, case]), "name"
            ),
            lambda case, others=others: our_models(ours, "", [*others, case]),
        )


def our_versions(ours: Search, text: str, order_by: list[str]) -> list[str]:
    """Names and numbers of the model versions that we find."""
    page = search.model_versions_page(
        filter=text, order_by=order_by, max_results=9, page_token=None, dialect=ours.dialect
    )
    return paged(ours, page, slice(0, 2))


def test_filters_of_model_versions(both: Both) -> None:
    """Model versions, whatever the filter; deleted ones never."""
    ours, stock = both
    compare(
        "model_versions.filters",
        lambda case: shown(stock.registry.search_model_versions(case, 9), "name", "version"),
        lambda case: our_versions(ours, case, []),
    )


def test_orders_of_model_versions(both: Both) -> None:
    """Model versions in the order asked for, alone and after another key."""
    ours, stock = both
    for others in ([], ["version_number DESC"]):
        compare(
            "model_versions.orders",
            lambda case, others=others: shown(
                stock.registry.search_model_versions("", 9, [*others, case]), "name", "version"
            ),
            lambda case, others=others: our_versions(ours, "", [*others, case]),
        )


def stock_logged_models(
    stock: Stock, text: str, datasets: list[search.ModelDataset], order_by: list[search.ModelSort]
) -> list[str]:
    """Logged model ids that MLflow finds, asked as its handler asks."""
    found = stock.tracking.search_logged_models(
        ["1", "2"],
        text or None,
        [{"dataset_name": d.name, "dataset_digest": d.digest} for d in datasets] or None,
        9,
        [item.as_dict() for item in order_by] or None,
    )
    return shown(found, "model_id")


def our_logged_models(
    ours: Search, text: str, datasets: list[search.ModelDataset], order_by: list[search.ModelSort]
) -> list[str]:
    """Logged model ids that we find."""
    page = search.logged_models_page(
        experiment_ids=["1", "2"],
        filter=text,
        datasets=datasets,
        order_by=order_by,
        max_results=9,
        page_token=None,
        dialect=ours.dialect,
    )
    return paged(ours, page, slice(0, 1))


def newest_values(key: str, datasets: Sequence[search.ModelDataset] = ()) -> dict[str, float]:
    """The value of each logged model's newest point of a metric on the datasets; the greatest of equals."""
    _, points = tables()["logged_model_metrics"]
    newest: dict[str, tuple[int, int, float]] = {}
    for model_id, name, time, step, _run, value, _experiment, dataset, digest in points:
        on_dataset = not datasets or any(
            dataset == d.name and d.digest in (None, digest) for d in datasets
        )
        if name == key and on_dataset:
            newest[model_id] = max(newest.get(model_id, (-1, -1, 0.0)), (step, time, value))
    return {model_id: point[2] for model_id, point in newest.items()}


IRIS = search.ModelDataset("iris", "d1")
DATASETS = ((), (IRIS,), (search.ModelDataset("iris"),), (IRIS, search.ModelDataset("wine", "d2")))


@pytest.mark.parametrize("datasets", DATASETS, ids=str)
def test_filters_of_logged_models(both: Both, datasets: tuple[search.ModelDataset, ...]) -> None:
    """Logged models, whatever the filter, with the metrics of any dataset or of some."""
    ours, stock = both
    values = newest_values("k", datasets)

    def expected(case: str) -> list[str]:
        found = stock_logged_models(stock, case, list(datasets), [])
        if case not in NEWEST_POINTS:
            return found
        assert "next" not in found, "else the first page of 3.17 would not have all"
        return [id_ for id_ in found if NEWEST_POINTS[case](values[id_])]

    compare(
        "logged_models.filters",
        expected,
        lambda case: our_logged_models(ours, case, list(datasets), []),
    )


SORTS: Final = (
    ("name", True, None, None),
    ("name", False, None, None),
    ("model_type", True, None, None),
    ("model_type", False, None, None),
    ("creation_timestamp", True, None, None),
    ("creation_time", False, None, None),
    ("last_updated_timestamp", False, None, None),
    ("status", True, None, None),
    ("model_id", False, None, None),
    ("metrics.k", True, None, None),
    ("metrics.k", False, None, None),
    ("metrics.k", False, "iris", None),
    ("metrics.K", True, "iris", "d1"),
    ("metrics.a.b", True, None, None),
    ("metrics.nothing", True, None, None),
    ("bogus", True, None, None),
    ("", True, None, None),
    ("params.k", True, None, None),
    ("tags.k", True, None, None),
    (" name", True, None, None),
)


def test_orders_of_logged_models(both: Both) -> None:
    """Logged models in the order asked for."""
    ours, stock = both
    for values in SORTS:
        order_by = [search.ModelSort(*values), search.ModelSort("model_id")]
        expected = outcome(lambda _: stock_logged_models(stock, "", [], order_by), "")  # noqa: B023
        found = outcome(lambda _: our_logged_models(ours, "", [], order_by), "")  # noqa: B023
        if values[0].startswith("metrics."):  # MLflow 3.17 sorts by another of the points
            expected = ("found", *by_newest(stock, *values))
        assert found == expected, values


def by_newest(
    stock: Stock, field: str, ascending: bool, dataset: str | None, digest: str | None
) -> list[str]:
    """The first page of logged models by the newest value of a metric, those without one last."""
    datasets = [] if dataset is None else [search.ModelDataset(dataset, digest)]
    values = newest_values(field.removeprefix("metrics."), datasets)
    sign = 1 if ascending else -1
    ids = [m.model_id for m in stock.tracking.search_logged_models(["1", "2"], None, None, 50)]
    ids.sort(key=lambda id_: (id_ not in values, sign * values.get(id_, 0.0), id_))
    return [*ids[:9], "next"]


def test_page_tokens(both: Both) -> None:
    """Valid, invalid and foreign tokens. A crash of stock is a 400 of headrace."""
    from mlflow.entities import ViewType

    ours, stock = both
    contents = (b'{"offset": 2}', b'{"offset": "3"}', b'{"offset": 1.5}', b'{"offset": true}')
    wrong = (b"abc", b"", b"{}", b'{"offset": 0}', b'{"offset": "x"}', b'{"offset": null}', b"[")
    crashing = (b"[1]", b"7", b'"x"', b'{"offset": [1]}', b'{"offset": {}}')
    tokens = [base64.b64encode(content).decode() for content in (*contents, *wrong)]
    for token in [*tokens, "!!", "a", "eyJvZmZzZXQiOiAyfQ", "e30", " ", "eyJvZmZzZXQiOiAyfQ==\n"]:
        expected = outcome(
            lambda t: shown(
                stock.tracking.search_experiments(ViewType.ALL, 4, "", [], t), "experiment_id"
            ),
            token,
        )

        def our_page(token: str) -> list[str]:
            page = search.experiments_page(
                filter="",
                order_by=[],
                stages=STAGES,
                max_results=4,
                page_token=token,
                dialect=ours.dialect,
            )
            return paged(ours, page, slice(0, 1))

        assert outcome(our_page, token) == expected, token
    for content in crashing:
        refused = outcome(our_page, base64.b64encode(content).decode())
        assert refused[:2] == ("refused", "INVALID_PARAMETER_VALUE"), content


# Words of the filter language, and some others.
WORDS: Final = (
    *("metrics.k", "params.k", "tags.`a b`", "attributes.status", "run_id", "start_time", "name"),
    *(
        "dataset.name",
        "bogus.x",
        "k",
        "'x'",
        '"y"',
        "1",
        "-1.5",
        "1e3",
        ".5",
        "0x1F",
        "1a",
        "('a')",
    ),
    *("=", "!=", ">", "<=", "==", "LIKE", "ilike", "IN", "not in", "IS NULL", "IS NOT NULL", "IS"),
    *("AND", "and", "OR", "NOT", "(", ")", "[", "]", ",", ".", ";", "'", '"', "`", "-", "*", "/"),
    *("-- x", "/* x */", "as", "case", "none", "null", "date", "max(k)", "a[0]", ":=", "::", "?"),
    *(
        "where",
        "order by",
        "desc",
        "key",
        "in.x",
        "params.in",
        "params.1a",
        "é",
        "日本.x",
        "$1",
        "%s",
    ),
)
SOUP = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9)
GAPS = st.sampled_from(("", " ", "  ", "\n"))


@settings(max_examples=400, deadline=None)
@given(words=SOUP, gap=GAPS)
def test_any_text_is_a_filter_exactly_if_it_is_one_for_stock(words: list[str], gap: str) -> None:
    """The same conditions, or a refusal by both, possibly with different messages.

    headrace reads a filter that it refuses as stock's grammar once more, see search/boolean.py.
    """
    from mlflow.utils.search_utils import SearchUtils

    text = gap.join(words)
    try:
        expected = [
            (
                found["type"],
                SearchUtils.translate_key_alias(found["key"]),
                found["comparator"].upper(),
                float(found["value"]) if found["type"] == "metric" else found["value"],
            )
            for found in SearchUtils.parse_search_filter(text)
        ]
    except Exception:  # noqa: BLE001 a refusal, or what MLflow lets escape
        with pytest.raises(ApiError):
            parse_plain(text)
        return
    found = parse_plain(text)
    assert parse_filter(text) == found
    assert [(one.entity, one.key, one.operator, one.value) for one in found] == expected
