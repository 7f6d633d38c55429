"""The filters and order_by of the model registry: registered-models/search, model-versions/search.

Prompts are registered models with a tag. They are excluded unless the filter selects them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.auth.access import Scope
from headrace.contract.errors import invalid
from headrace.contract.names import IS_PROMPT
from headrace.search import boolean, parser
from headrace.search.compile import Page, Parameters, term_sql
from headrace.search.lexer import Kind, Node
from headrace.search.pages import offset_of
from headrace.search.tree import Condition, SortKey, Term, Value, conditions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from headrace.db.base import Dialect

REGISTERED_MODEL_COLUMNS: Final = ("name", "creation_time", "last_updated_time", "description")
MODEL_VERSION_COLUMNS: Final = (
    "name",
    "version",
    "creation_time",
    "last_updated_time",
    "description",
    "user_id",
    "current_stage",
    "source",
    "run_id",
    "status",
    "status_message",
    "run_link",
    "storage_location",
)
# The registered models and the prompts that a caller may read; None: all of them.
Scopes = tuple[Scope | None, Scope | None]
_TAG_OPERATORS: Final = ("=", "!=", "LIKE", "ILIKE")
_TEXT_OPERATORS: Final = (*_TAG_OPERATORS, "IN", "NOT IN")
_NUMBER_OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=")

_MODEL_SORT_COLUMNS: Final = {
    "name": "name",
    "timestamp": "last_updated_time",
    "last_updated_timestamp": "last_updated_time",
}
_VERSION_COLUMNS: Final = {
    "name": "name",
    "version_number": "version",
    "run_id": "run_id",
    "source_path": "source",
}
_VERSION_SORT_COLUMNS: Final = {
    "name": "name",
    "version_number": "version",
    "creation_timestamp": "creation_time",
    "last_updated_timestamp": "last_updated_time",
}
_VERSION_NUMBERS: Final = ("creation_timestamp", "last_updated_timestamp", "version_number")
_VERSION_DEFAULT_ORDER: Final = (
    "last_updated_timestamp DESC",
    "name ASC",
    "version_number DESC",
)


def registered_models_page(
    *,
    filter: str | None,
    order_by: Sequence[str],
    max_results: int,
    page_token: str | None,
    dialect: Dialect,
    columns: Sequence[str] = REGISTERED_MODEL_COLUMNS,
    has_workspaces: bool = True,
    readable: Scopes = (None, None),
) -> Page:
    """The page of registered models that a search requests, as one statement.

    `has_workspaces`: whether the tables of this database have that column (from MLflow 3.10 on).
    `readable` has the models and the prompts that the caller may read.
    Errors, in MLflow's order: the filter's form, the order_by (INTERNAL_ERROR when a field is named
    twice), the page token, the filter's operators.
    """
    terms = parse_models_filter(filter)
    order = _model_order(order_by)
    offset = offset_of(page_token)
    parameters = Parameters(dialect)
    where = ["m.workspace = {workspace}"] if has_workspaces else []
    tags = _TagTable("registered_model_tags", ("workspace", "name"), has_workspaces)
    where += tags.searched(terms, _model_condition, parameters)
    where += _readable(readable, has_workspaces, parameters)
    text = (
        f"SELECT {', '.join(f'm.{column}' for column in columns)} FROM registered_models m"
        f" WHERE {' AND '.join(where)} ORDER BY {order}"
    )
    return parameters.page(text, offset, max_results)


def model_versions_page(
    *,
    filter: str | None,
    order_by: Sequence[str],
    max_results: int,
    page_token: str | None,
    dialect: Dialect,
    columns: Sequence[str] = MODEL_VERSION_COLUMNS,
    has_workspaces: bool = True,
    readable: Scopes = (None, None),
) -> Page:
    """The page of model versions that a search requests, as one statement; deleted ones are excluded.

    `has_workspaces`, `readable` and the errors are as for registered models, but operators come
    before order_by. The tags of the model decide whether a version belongs to a prompt.
    """
    terms = parse_versions_filter(filter)
    parameters = Parameters(dialect)
    where = ["m.workspace = {workspace}"] if has_workspaces else []
    looked_up = _looked_up(terms, readable) if dialect == "sqlite" else set()
    if where and "run_id" in looked_up:
        where = ["+m.workspace = {workspace}"]
    where.append("m.current_stage <> 'Deleted_Internal'")
    tags = _TagTable("model_version_tags", ("workspace", "name", "version"), has_workspaces)
    where += tags.searched(terms, _version_condition, parameters)
    where += _readable(readable, has_workspaces, parameters)
    order = _version_order(order_by or _VERSION_DEFAULT_ORDER)
    if looked_up:
        order = order.replace("m.", "+m.")
    offset = offset_of(page_token)
    text = (
        f"SELECT {', '.join(f'm.{column}' for column in columns)} FROM model_versions m"
        f" WHERE {' AND '.join(where)} ORDER BY {order}"
    )
    return parameters.page(text, offset, max_results)


def _looked_up(terms: Sequence[Term], readable: Scopes) -> set[str]:
    """The attributes by which a filter, or the scope of a user, finds few versions.

    SQLite has no statistics, and would prefer an index in the order of the page, or one that
    begins with the workspace. A plus keeps it from using an index for a column.
    """
    found = {
        term.key
        for term in terms
        if isinstance(term, Condition)
        and term.entity == "attribute"
        and term.key in ("name", "run_id")
        and term.operator in ("=", "IN")
    }
    if all(scope is not None and scope.only for scope in readable):
        found.add("name")
    return found


def parse_models_filter(text: str | None) -> tuple[Term, ...]:
    """The terms of a registered-models filter; operators are checked when it is compiled."""
    return boolean.terms(text, _parse_models) if text else ()


def parse_versions_filter(text: str | None) -> tuple[Term, ...]:
    """The terms of a model-versions filter; operators are checked when it is compiled."""
    return boolean.terms(text, _parse_versions) if text else ()


def _parse_models(text: str) -> tuple[Condition, ...]:
    return _parse_plain(text, "registered model", ("name",), _model_value)


def _parse_versions(text: str) -> tuple[Condition, ...]:
    return _parse_plain(text, "model version", tuple(_VERSION_COLUMNS), _version_value)


def _parse_plain(
    text: str, what: str, attributes: Sequence[str], value_of: Callable[[str, Node], Value]
) -> tuple[Condition, ...]:
    conditions: list[Condition] = []
    nodes = parser.clauses(parser.joined(parser.one_statement(text)), quote="")
    for left, operator, right in map(parser.operands, nodes):
        if right is None:  # as MLflow 3.18
            raise invalid(f"IS NULL / IS NOT NULL is not supported for {what} search.")
        entity, key = parser.attribute_or_tag(left.text)
        if entity == "attribute" and key not in attributes:
            valid = parser.spelt_set(attributes)
            raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are '{valid}'")
        key = parser.bare(key)
        value = (
            value_of(key, right) if entity == "attribute" else parser.quoted_value(right, entity)
        )
        conditions.append(Condition(entity, key, operator.text.upper(), value))
    return tuple(conditions)


def _model_value(key: str, node: Node) -> Value:
    if node.kind is Kind.PARENTHESIS:
        return parser.string_list(node)
    return _text_value(node)


def _version_value(key: str, node: Node) -> Value:
    if node.kind is Kind.PARENTHESIS:
        if key not in ("name", "run_id"):
            raise invalid(
                "Only ['name', 'run_id'] attributes support comparison with a list of quoted "
                "string values."
            )
        return parser.string_list(node)
    if node.kind in parser.NUMBERS:
        if key not in _VERSION_NUMBERS:
            raise invalid(
                f"Only the '{parser.spelt_set(_VERSION_NUMBERS)}' attributes support comparison "
                "with numeric values."
            )
        return parser.number(node)
    return _text_value(node)


def _text_value(node: Node) -> str:
    if node.kind in parser.STRINGS:
        return parser.unquoted(node)
    raise invalid(
        "Expected a quoted string value or a list of quoted string values for attributes. "
        f"Got value {node.text}"
    )


def _check_operator(condition: Condition, allowed: Sequence[str], what: str) -> None:
    if condition.operator not in allowed:
        raise invalid(f"Invalid comparator for {what}: {condition.operator}")
    if isinstance(condition.value, tuple) != (condition.operator in ("IN", "NOT IN")):
        raise parser.unexpected_list(condition.operator)


def _model_condition(condition: Condition, parameters: Parameters) -> str:
    _check_operator(condition, _TEXT_OPERATORS, "attribute")
    return parameters.compares("m.name", condition.operator, condition.value)


def _version_condition(condition: Condition, parameters: Parameters) -> str:
    key, operator, value = condition.key, condition.operator, condition.value
    column = f"m.{_VERSION_COLUMNS[key]}"
    if key != "version_number":
        _check_operator(condition, _TEXT_OPERATORS, "attribute")
        return parameters.compares(column, operator, value)
    if operator not in _NUMBER_OPERATORS:
        raise invalid(f"Invalid comparator for attribute {key}: {operator}")
    try:
        number = value if isinstance(value, int) else int(str(value))
    except ValueError as exc:
        raise invalid(f"Invalid value for numeric attribute '{key}': {value!r}") from exc
    return parameters.compares_integer(column, operator, number)


class _TagTable:
    """The table of tags of the searched rows `m`, and the columns that join them."""

    def __init__(self, table: str, columns: Sequence[str], has_workspaces: bool) -> None:
        self.table = table
        self.columns = [name for name in columns if has_workspaces or name != "workspace"]

    def searched(
        self,
        terms: Sequence[Term],
        attribute: Callable[[Condition, Parameters], str],
        parameters: Parameters,
    ) -> list[str]:
        """SQL for the terms of a filter, and for the exclusion of prompts.

        `attribute` gives the SQL for a condition on an attribute. Terms with OR or NOT that name the
        prompt tag decide themselves whether prompts are found.
        """

        def sql(condition: Condition) -> str:
            if condition.entity == "attribute":
                return attribute(condition, parameters)
            _check_operator(condition, _TAG_OPERATORS, "tag")
            is_key = f"t.key = {parameters.add(condition.key)}"
            test = parameters.compares("t.value", condition.operator, condition.value)
            return self._exists(self.columns, f"{is_key} AND {test}", parameters)

        found: list[str] = []
        tags: list[Condition] = []
        for term in terms:
            if isinstance(term, Condition) and term.entity == "tag":
                _check_operator(term, _TAG_OPERATORS, "tag")
                tags.append(term)
            else:
                found.append(term_sql(term, sql))
        decides = not any(map(_names_prompts, tags)) and any(
            map(_names_prompts, conditions_of(terms))
        )
        if not decides and not _asks_for_prompts(tags):
            # Further conditions on the prompt tag have no effect then, as in MLflow.
            tags = [tag for tag in tags if not _names_prompts(tag)]
            of_model = [name for name in self.columns if name != "version"]
            is_prompt = f"t.key = '{IS_PROMPT}' AND t.value = 'true'"
            found.append(f"NOT {self._exists(of_model, is_prompt, parameters)}")
        return found + [sql(tag) for tag in tags]

    def _exists(self, columns: Iterable[str], tests: str, parameters: Parameters) -> str:
        same = " AND ".join(f"t.{column} = m.{column}" for column in columns)
        return parameters.exists(f"{self.table} t WHERE {same} AND {tests}")


def _names_prompts(condition: Condition) -> bool:
    return condition.entity == "tag" and condition.key == IS_PROMPT


def _asks_for_prompts(tags: Iterable[Condition]) -> bool:
    """Whether the first condition on the prompt tag requires the value true."""
    for tag in tags:
        if tag.key == IS_PROMPT:
            wanted = str(tag.value).lower()
            return (tag.operator, wanted) in (("=", "true"), ("!=", "false"))
    return False


def _readable(scopes: Scopes, has_workspaces: bool, parameters: Parameters) -> list[str]:
    """SQL for the rows `m` whose registered model the caller may read.

    The tag is looked up only for names on which the scopes may differ.
    """
    models, prompts = scopes
    if models == prompts:
        return [] if models is None else [parameters.readable("m.name", models)]
    by_tag = _readable_by_tag(models, prompts, has_workspaces, parameters)
    if models is None or prompts is None or models.only != prompts.only:
        return [by_tag]
    either = Scope(models.ids | prompts.ids, models.only)
    word = "AND" if either.only else "OR"
    return [f"({parameters.readable('m.name', either)} {word} {by_tag})"]


def _readable_by_tag(
    models: Scope | None, prompts: Scope | None, has_workspaces: bool, parameters: Parameters
) -> str:
    same = "t.workspace = m.workspace AND " if has_workspaces else ""
    is_prompt = parameters.exists(
        f"registered_model_tags t WHERE {same}t.name = m.name AND t.key = '{IS_PROMPT}'"
        " AND lower(t.value) = 'true'"
    )
    of_prompts, of_models = (
        "true" if scope is None else parameters.readable("m.name", scope, finds=False)
        for scope in (prompts, models)
    )
    return f"CASE WHEN {is_prompt} THEN {of_prompts} ELSE {of_models} END"


def _model_order(order_by: Sequence[str]) -> str:
    parser.check_sort_fields(len(order_by))
    keys: list[SortKey] = []
    for text in order_by:
        field, ascending = parser.sort_field(text)
        if field not in _MODEL_SORT_COLUMNS:
            valid = parser.spelt_set(("name", "timestamp"))
            raise invalid(f"Invalid order by key '{field}' specified. Valid keys are '{valid}'")
        keys.append(SortKey("attribute", _MODEL_SORT_COLUMNS[field], ascending))
    return _order(keys, order_by, (SortKey("attribute", "name", True),))


def _version_order(order_by: Sequence[str]) -> str:
    parser.check_sort_fields(len(order_by))
    keys: list[SortKey] = []
    for text in order_by:
        field, ascending = parser.sort_field(text)
        entity, key = parser.attribute_or_tag(field)
        key = parser.bare(key)
        if key not in _VERSION_SORT_COLUMNS:
            valid = parser.spelt_set(_VERSION_SORT_COLUMNS)
            if entity == "attribute":
                raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are '{valid}'")
            raise invalid(f"Invalid order by key '{key}' specified. Valid keys are {valid}")
        keys.append(SortKey("attribute", _VERSION_SORT_COLUMNS[key], ascending))
    ties = (SortKey("attribute", "name", True), SortKey("attribute", "version", False))
    return _order(keys, order_by, ties)


def _order(keys: Sequence[SortKey], order_by: Sequence[str], ties: Sequence[SortKey]) -> str:
    names = [key.key for key in keys]
    if len(set(names)) < len(names):
        raise parser.duplicate_sort_fields(order_by)
    ordered = [*keys, *(tie for tie in ties if tie.key not in names)]
    return ", ".join(f"m.{key.key}{'' if key.ascending else ' DESC'}" for key in ordered)
