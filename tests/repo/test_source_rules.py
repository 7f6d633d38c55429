"""Rules about the source that keep two hundred endpoints readable.

A list of exceptions may only shrink.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from typing import TYPE_CHECKING

from headrace.api.routes import ROUTES, USER_ROUTES

if TYPE_CHECKING:
    from tests.repo.conftest import Source

MAX_FILE_LINES = 500
MAX_TEST_FILE_LINES = 800
MAX_FUNCTION_LINES = 60
MAX_HANDLER_LINES = 40
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc", "shared"}

SQL = re.compile(
    r"\s*(SELECT\s|INSERT\s+(INTO|OR)|UPDATE\s+\w+\s+SET|DELETE\s+FROM|ALTER\s+TABLE"
    r"|CREATE\s+(TABLE|INDEX)|WITH\s+\w+\s+AS|PRAGMA\s|BEGIN\b|COMMIT$|ROLLBACK$)"
)
DATABASE_PLACES = re.compile(
    r"src/headrace/((api/\w+/\w+|auth)/(\w+_)?sql|search/\w+|db/[\w/]+)\.py"
)
URL = re.compile(r"/(ajax-)?api/\d\.0/|\d\.0/mlflow/")

# Broad handlers that do not raise again, by file: answers that must be sent and loops that must continue after
# any error.
BROAD_EXCEPTS = {
    "src/headrace/auth/custom.py": 1,  # a thread passes every exception of the function to its caller
    "src/headrace/commit/group.py": 1,  # the loop that commits groups
    "src/headrace/commit/reads.py": 2,  # every waiting caller gets the exception
    "src/headrace/db/sqlite/worker.py": 1,  # a thread passes every exception to its caller
    "src/headrace/client/engine.py": 1,  # a call on the loop passes every exception to its caller
    "src/headrace/http/app.py": 1,  # the 500 answer
    "src/headrace/http/connection.py": 1,  # an answer that cannot be sent or is interrupted
    "src/headrace/server/supervisor.py": 1,  # a worker process must say why it ends
}
# Files that know URLs besides the route table, and why.
URL_PLACES = {
    "src/headrace/api/routes.py",
    "src/headrace/api/gateway_routes.py",  # a part of the route table
    "src/headrace/bridge/routes.py",  # the bridged routes
    "src/headrace/bridge/stock.py",  # asks stock whether its jobs are done
    "src/headrace/api/enabled.py",  # the routes that an option omits
    "src/headrace/plugin/server_store.py",  # a client of a headrace server
    "src/headrace/commands/whoami.py",  # the same
    "src/headrace/transfer/server_api.py",
    "src/headrace/transfer/server_objects.py",  # a client of any server with MLflow's API
    "src/headrace/storage/locations.py",  # an artifact URI may refer to a headrace server
}


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From `def` to the last line, docstring included."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_no_file_is_too_long(package: list[Source], tests: list[Source]) -> None:
    """500 lines for the package, 800 for a test."""
    sizes = {f.name: (f.text.count("\n"), MAX_FILE_LINES) for f in package}
    sizes |= {f.name: (f.text.count("\n"), MAX_TEST_FILE_LINES) for f in tests}
    assert not {name: lines for name, (lines, most) in sizes.items() if lines > most}


def test_no_function_is_too_long(package: list[Source]) -> None:
    """60 lines, and 40 for a handler."""
    long = {}
    for source in package:
        most = MAX_HANDLER_LINES if source.name.endswith("/handlers.py") else MAX_FUNCTION_LINES
        for function in source.functions():
            if lines_of(function) > most:
                long[f"{source.name}: {function.name}"] = lines_of(function)
    assert not long


def test_every_file_has_a_docstring(package: list[Source], tests: list[Source]) -> None:
    """A module docstring, except in an empty __init__.py."""
    assert not [f.name for f in package + tests if f.text and not ast.get_docstring(f.tree)]


def test_no_file_name_is_generic(package: list[Source], tests: list[Source]) -> None:
    """A function lives with the noun it serves, not in utils.py."""
    names = {f.name: set(f.name.removesuffix(".py").split("/")) for f in package + tests}
    assert not [name for name, parts in names.items() if parts & NAMELESS]


def test_sql_is_only_in_its_places(package: list[Source]) -> None:
    """In api/*/*/sql.py, auth/sql.py, search/ and db/."""
    stray = [
        f"{source.name}:{text.lineno}"
        for source in package
        if not DATABASE_PLACES.fullmatch(source.name)
        for text in source.strings()
        if isinstance(text.value, str) and SQL.match(text.value)
    ]
    assert not stray


def test_the_sql_rule_finds_sql(package: list[Source]) -> None:
    """The pattern matches the statements that exist."""
    assert [f for f in package for text in f.strings() if SQL.match(str(text.value))]


def test_only_sql_branches_on_the_dialect(package: list[Source]) -> None:
    """Only api/*/*/sql.py, search/ and db/ branch on the database."""
    asking = [
        f"{source.name}:{node.lineno}"
        for source in package
        if not DATABASE_PLACES.fullmatch(source.name)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Compare)
        and any(
            isinstance(part, ast.Attribute) and part.attr == "dialect"
            for part in [node.left, *node.comparators]
        )
    ]
    assert not asking


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches any exception and does not raise it again."""
    names = ast.unparse(handler.type) if handler.type else "BaseException"
    raises_again = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
    return names in ("Exception", "BaseException") and not raises_again


def test_broad_excepts_are_listed(package: list[Source]) -> None:
    """`except Exception`, `except BaseException` and bare `except` only where listed."""
    found = Counter(
        source.name
        for source in package
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and is_broad(node)
    )
    assert found == BROAD_EXCEPTS


def test_urls_are_only_in_the_route_table(package: list[Source]) -> None:
    """Every endpoint can be found in routes.py."""
    stray = [
        f"{source.name}:{text.lineno}"
        for source in package
        if source.name not in URL_PLACES
        for text in source.strings()
        if isinstance(text.value, str) and URL.search(text.value)
    ]
    assert not stray


def test_a_handler_takes_a_request_and_a_context() -> None:
    """`async def name(req, ctx)`, without bytes, headers and status codes; a raw handler takes the request."""
    wrong = []
    for route in ROUTES + USER_ROUTES:
        names = list(inspect.signature(route.handler).parameters)
        if names != ["request" if route.raw else "req", "ctx"]:
            wrong.append(f"{route.method} {route.path}: {names}")
        if not inspect.iscoroutinefunction(route.handler):
            wrong.append(f"{route.method} {route.path}: not async")
    assert ROUTES
    assert not wrong
