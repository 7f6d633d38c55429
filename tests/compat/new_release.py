"""The changes of a release of MLflow that concern headrace: routes, schema, recorded answers.

    python -m tests.compat.new_release PYTHON

PYTHON is that of an environment with the release, such as .venv-mlflow318/bin/python. The script
compares it with the MLflow of its own environment, whose answers are recorded. It takes some
minutes. See "Keeping up with MLflow" in CONTRIBUTING.md.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.compat.examples import FILE, Replay, load
from tests.compat.url_map import url_map
from tests.fix_server import STOCK_ENVIRONMENT, base_environment, stock
from tests.sql.catalog import differences, sqlite_catalog
from tests.wire import Wire

from headrace.api.routes import ROUTES
from headrace.bridge.routes import Table, listing
from headrace.db.schema import heads, used

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.compat.examples import Example

GENAI = FILE.with_name("examples-genai.jsonl")
SHOWN_LINES = 6  # of the differences of one answer
OPEN = """
import sys
from pathlib import Path
import mlflow
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore(sys.argv[1], "mlflow-artifacts:/")
print(mlflow.__version__, Path(mlflow.__file__).parent)
"""


def main(python: str) -> None:
    """Print the report."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for title, lines in (
            ("Routes", routes(python, root)),
            ("Schema", schema(python, root)),
            ("Recorded answers", answers(python, root)),
        ):
            print(f"\n## {title}\n")  # noqa: T201 the output of a command
            for line in lines:
                print(line, flush=True)  # noqa: T201 as above


def routes(python: str, root: Path) -> Iterator[str]:
    """Yield the routes that only one of both releases has."""
    ours, theirs = (url_map(one, directory(root)) for one in (sys.executable, python))
    table = Table()
    native = {(method, path) for method, path, is_native in listing(ROUTES) if is_native}
    shapes = {(method, shape(path)) for method, path in native}
    for method, path in sorted(theirs - ours, key=lambda route: route[::-1]):
        found = table.find(re.sub(r"\{[^}]*\}", "x", path))
        known = (
            "" if found is not None and method in found.methods else "   not in bridge/routes.py"
        )
        yield f"added    {method} {path}{known}"
    for method, path in sorted(ours - theirs, key=lambda route: route[::-1]):
        served = "native" if (method, shape(path)) in shapes else "bridged"
        yield f"removed  {method} {path}   {served}"


def shape(path: str) -> str:
    """A path with nameless arguments, under /api."""
    return re.sub(r"\{[^}]*\}", "{}", path).replace("/ajax-api/", "/api/")


def schema(python: str, root: Path) -> Iterator[str]:
    """Yield new revisions, changes of the schema, and whether headrace's statements fit them."""
    ours, _ = opened(sys.executable, directory(root) / "m.db")
    theirs, package = opened(python, directory(root) / "m.db")
    scripts = (package / "store" / "db_migrations" / "versions").glob("*.py")
    revisions = {
        found
        for script in scripts
        for found in re.findall(r"""^revision(?:: \S+)? = ["'](\w+)""", script.read_text(), re.M)
    }
    for revision in sorted(revisions - set(heads.REVISIONS)):
        yield f"revision {revision} is not in db/schema/heads.py"
    yield from differences(sqlite_catalog(ours), sqlite_catalog(theirs))
    columns = columns_of(theirs)
    for table, names in used.USED.items():
        yield from (
            f"missing  {table}.{name}" for name in sorted(names - columns.get(table, set()))
        )


def opened(python: str, path: Path) -> tuple[Path, Path]:
    """A new database of a release, and the directory of its package."""
    environment = base_environment() | STOCK_ENVIRONMENT
    command = [python, "-W", "ignore", "-c", OPEN, f"sqlite:///{path}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return path, Path(done.stdout.split()[-1])


def columns_of(path: Path) -> dict[str, set[str]]:
    """The columns of each table of a file."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
        return {
            name: {row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')}
            for (name,) in tables
        }


def answers(python: str, root: Path) -> Iterator[str]:
    """Yield the recorded requests that only the new release answers otherwise."""
    for file in (FILE, GENAI):
        examples = load(areas(file), file)
        ours, theirs = (
            replayed(one, examples, directory(root)) for one in (sys.executable, python)
        )
        for example in examples:
            found = theirs[example.number]
            # Both differ where an answer depends on time or chance.
            if found and not ours[example.number]:
                yield f"{file.name} {example} ({example.area})"
                yield from (f"    {line[:300]}" for line in found[:SHOWN_LINES])


def areas(file: Path) -> tuple[str, ...]:
    """All areas of a file."""
    return tuple(re.findall(r'"area": "([^"]*)"', file.read_text()))


def replayed(python: str, examples: Iterable[Example], place: Path) -> dict[int, list[str]]:
    """The differences of each answer of a release from the recorded one."""
    found: dict[int, list[str]] = {}
    with stock(f"sqlite:///{place}/m.db", place, python=python) as server, Wire(server.url) as wire:
        replay = Replay(wire)
        for example in examples:
            found[example.number] = replay.play(example)[2]
    return found


def directory(root: Path) -> Path:
    """A new directory."""
    return Path(tempfile.mkdtemp(dir=root))


if __name__ == "__main__":
    main(sys.argv[1])
