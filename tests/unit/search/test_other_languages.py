"""The filter languages of experiments, the registry and logged models: what they reject, with which messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headrace import search
from headrace.contract.errors import ApiError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

INVALID = ErrorCode.INVALID_PARAMETER_VALUE


def page_of(make: Callable[..., search.Page], **request: Any) -> search.Page:
    """The first page of ten rows on PostgreSQL."""
    common = {"filter": "", "order_by": [], "max_results": 10, "page_token": None}
    return make(dialect="postgres", **{**common, **request})


def experiments(**request: Any) -> search.Page:
    """A page of active experiments."""
    return page_of(search.experiments_page, stages=("active",), **request)


def registered_models(**request: Any) -> search.Page:
    """A page of registered models."""
    return page_of(search.registered_models_page, **request)


def model_versions(**request: Any) -> search.Page:
    """A page of model versions."""
    return page_of(search.model_versions_page, **request)


def logged_models(**request: Any) -> search.Page:
    """A page of the logged models of experiment 1."""
    return page_of(search.logged_models_page, **{"experiment_ids": ["1"], "datasets": ()} | request)


def refusal(make: Callable[..., search.Page], **request: Any) -> tuple[ErrorCode, str]:
    """Code and message of the error."""
    with pytest.raises(ApiError) as refused:
        make(**request)
    return refused.value.code, refused.value.message


FILTERS: tuple[tuple[Callable[..., search.Page], str, str], ...] = (
    (experiments, "name = 'a' OR", "Invalid clause(s) in filter string: OR"),
    (
        experiments,
        "metrics.x > 1",
        "Invalid entity type 'metrics'. Valid entity types are ('attribute', 'attributes', 'tag', 'tags')",
    ),
    (
        experiments,
        "bogus = 'x'",
        "Invalid attribute key 'bogus' specified. "
        "Valid keys are '{'creation_time', 'experiment_id', 'last_update_time', 'name'}'",
    ),
    (
        experiments,
        "name rlike 'a'",
        "Invalid comparator 'RLIKE' not one of '{'!=', '=', 'ILIKE', 'IN', 'LIKE', 'NOT IN'}'",
    ),
    (experiments, "tags.t > 'a'", "Invalid comparator for tag: >"),
    (experiments, "experiment_id > '1'", "Invalid comparator for experiment_id: >"),
    (
        experiments,
        "experiment_id = 'x'",
        "Invalid experiment ID 'x'. Experiment ID must be a valid integer.",
    ),
    (
        experiments,
        "creation_time > 1.5",
        "Invalid value for numeric attribute 'creation_time': '1.5'",
    ),
    (
        experiments,
        "name IS NULL",
        "IS NULL / IS NOT NULL is only supported for tags, not for attribute 'name'",
    ),
    (
        experiments,
        "name IN ('a')",
        "Only ['experiment_id'] attributes support comparison with a list of quoted string values.",
    ),
    (
        registered_models,
        "timestamp = 'x'",
        "Invalid clause(s) in filter string: timestamp, =, 'x'",
    ),
    (
        registered_models,
        "version = 'x'",
        "Invalid clause(s) in filter string: version, =, 'x'",
    ),
    (
        registered_models,
        "run_id = 'x'",
        "Invalid attribute key 'run_id' specified. Valid keys are '{'name'}'",
    ),
    (registered_models, "name > 'a'", "Invalid comparator for attribute: >"),
    (registered_models, "tags.t RLIKE 'a'", "Invalid comparator for tag: RLIKE"),
    (
        registered_models,
        "name IS NULL",
        "IS NULL / IS NOT NULL is not supported for registered model search.",
    ),
    (
        registered_models,
        "name = 1",
        "Expected a quoted string value or a list of quoted string values for attributes. "
        "Got value 1",
    ),
    (
        model_versions,
        "name = 1",
        "Only the '{'creation_timestamp', 'last_updated_timestamp', 'version_number'}' attributes "
        "support comparison with numeric values.",
    ),
    (
        model_versions,
        "version_number LIKE 1",
        "Invalid comparator for attribute version_number: LIKE",
    ),
    (
        model_versions,
        "version_number = 1.5",
        "Invalid value for numeric attribute 'version_number': 1.5",
    ),
    (
        model_versions,
        "version_number = 'x'",
        "Invalid value for numeric attribute 'version_number': 'x'",
    ),
    (
        model_versions,
        "source_path IN ('a')",
        "Only ['name', 'run_id'] attributes support comparison with a list of quoted string values.",
    ),
    (
        logged_models,
        "bogus.x = 'a'",
        "Invalid entity type: 'bogus'. "
        "Expected one of ['attributes', 'metrics', 'params', 'tags'].",
    ),
    (
        logged_models,
        "tags.t IS NULL",
        "Invalid comparison: tags.tIS NULL. Expected a comparison with 3 tokens.",
    ),
    (
        logged_models,
        "name > 'a'",
        "Invalid comparison operator for attributes.name: '>'. "
        "Expected one of ('=', '!=', 'LIKE', 'ILIKE', 'IN', 'NOT IN').",
    ),
    (
        logged_models,
        "a = 'a' OR",
        "Invalid filter string: \"a = 'a' OR\". Expected a list of comparisons separated "
        "by 'AND' (e.g. 'metrics.loss > 0.1 AND params.lr = 0.01').",
    ),
    (logged_models, " ", "Invalid filter string: ' '. Expected a single SQL expression."),
)


@pytest.mark.parametrize(("make", "text", "message"), FILTERS)
def test_a_wrong_filter_is_refused_in_mlflows_words(
    make: Callable[..., search.Page], text: str, message: str
) -> None:
    """INVALID_PARAMETER_VALUE."""
    assert refusal(make, filter=text) == (INVALID, message)


def test_a_wrong_order_is_refused_in_mlflows_words() -> None:
    """Each language has its own keys and messages."""
    assert refusal(experiments, order_by=["tags.x"]) == (INVALID, "Invalid order_by entity: tag")
    assert refusal(registered_models, order_by=["bogus"]) == (
        INVALID,
        "Invalid order by key 'bogus' specified. Valid keys are '{'name', 'timestamp'}'",
    )
    assert refusal(model_versions, order_by=["tags.x"]) == (
        INVALID,
        "Invalid order by key 'x' specified. Valid keys are "
        "{'creation_timestamp', 'last_updated_timestamp', 'name', 'version_number'}",
    )
    assert refusal(registered_models, order_by=["timestamp", "last_updated_timestamp"]) == (
        ErrorCode.INTERNAL_ERROR,
        "`order_by` contains duplicate fields: ['timestamp', 'last_updated_timestamp']",
    )
    assert refusal(logged_models, order_by=[search.ModelSort("params.p")]) == (
        INVALID,
        "Invalid order by field name: params.p. Only metrics are supported.",
    )


def test_a_status_of_logged_models_has_a_name() -> None:
    """As in MLflow 3.18; its number still works."""
    named = logged_models(filter="status IN ('READY', 'FAILED')")
    assert named.args == logged_models(filter="status IN ('2', '3')").args
    assert logged_models(filter="status != 'PENDING'").args == (
        logged_models(filter="status != '1'").args
    )


def test_an_unknown_field_of_logged_models_has_a_class_of_its_own() -> None:
    """ATTRIBUTE_NOT_FOUND, which nothing else in MLflow has."""
    with pytest.raises(ApiError) as refused:
        logged_models(order_by=[search.ModelSort("bogus")])
    assert refused.value.body() == {
        "error_code": "INVALID_PARAMETER_VALUE",
        "message": "Invalid order by field name: bogus",
        "sqlstate": "KAM04",
        "error_class": "ATTRIBUTE_NOT_FOUND",
    }


def test_filters_that_crash_mlflow_are_errors_of_the_client() -> None:
    """MLflow answers 500 with the text of its Python exception, and clients retry for minutes."""
    code, message = refusal(logged_models, filter="attributes.bogus = 'a'")
    assert code == ErrorCode.INVALID_PARAMETER_VALUE
    assert message.startswith("Invalid attribute: 'bogus'. Expected one of ['model_id', ")
    assert refusal(logged_models, filter="metrics.m > 'a'") == (
        ErrorCode.INVALID_PARAMETER_VALUE,
        "Invalid value for metrics.m: 'a'. Expected a number.",
    )


def test_a_dataset_needs_a_name() -> None:
    """This is checked first."""
    assert refusal(logged_models, filter="(", datasets=[search.ModelDataset("")]) == (
        INVALID,
        "`dataset_name` in the `datasets` clause must be specified.",
    )


def test_a_search_that_no_database_could_answer_is_refused() -> None:
    """Each of these made PostgreSQL plan for minutes, or SQLite crash."""
    many = " AND ".join(f"tags.t{number} = 'x'" for number in range(501))
    message = "A filter can contain at most 500 comparisons. Got 501."
    for make in (experiments, registered_models, model_versions, logged_models):
        assert refusal(make, filter=many) == (INVALID, message)
    sorts = [search.ModelSort(f"metrics.m{number}") for number in range(31)]
    assert refusal(logged_models, order_by=sorts)[0] is INVALID
    datasets = [search.ModelDataset(f"d{number}") for number in range(251)]
    two = "metrics.a > 1 AND metrics.b > 1"
    assert refusal(logged_models, filter=two, datasets=datasets)[0] is INVALID


def test_an_older_registry_has_no_workspaces() -> None:
    """The statement does not name the column then."""
    for make in (registered_models, model_versions):
        text = "tags.t = 'x'"
        assert "workspace" in make(filter=text).text
        assert "workspace" not in make(filter=text, has_workspaces=False).text
