"""Facts about the installed mlflow package, read from its files.

Importing it would take seconds and hundreds of megabytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

INSTALL: Final = "pip install 'headrace[mlflow]'"
_REVISION: Final = re.compile(r'^(down_)?revision(?:: \S+)? = "(\w+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Package:
    """The installed mlflow package: its version and the schemas it requires.

    `auth_head` is that of the database of users; "" for a package without it.
    """

    version: str
    head: str
    known_heads: frozenset[str]
    auth_head: str
    has_asgi_app: bool


@cache
def installed() -> Package | None:
    """The mlflow package with its server, or None. mlflow-skinny has no server."""
    spec = find_spec("mlflow")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places or find_spec("flask") is None:
        return None
    try:
        release = version("mlflow")
    except PackageNotFoundError:
        return None
    root = Path(places[0])
    revisions, superseded = _revisions(root / "store" / "db_migrations" / "versions")
    auth_directory = root / "server" / "auth" / "db" / "migrations" / "versions"
    return Package(
        version=release,
        head=_head(revisions, superseded),
        known_heads=frozenset(revisions),
        auth_head=_head(*_revisions(auth_directory)),
        has_asgi_app=(root / "server" / "fastapi_app.py").exists(),
    )


def incompatibility(
    package: Package | None, database_head: str, auth_head: str | None = None
) -> str | None:
    """Why stock MLflow cannot serve this database, and what to do; None when it can.

    `auth_head` is the schema of the database of users; None on a server without users.
    """
    if package is None:
        return (
            "MLflow itself serves this route, and it is not installed together with headrace: "
            f"{INSTALL}, then restart headrace."
        )
    if package.head == database_head and auth_head not in (None, package.auth_head):
        # At its start MLflow would migrate the database of users to its own schema.
        return (
            f"MLflow itself serves this route, but the installed version {package.version} requires "
            f"schema {package.auth_head or 'none'} of the database of users, which is at "
            f"{auth_head}: install a release with that schema, then restart headrace."
        )
    if package.head == database_head:
        return None
    if database_head in package.known_heads:
        return (
            f"MLflow {package.version} serves this route and requires schema {package.head}, but the "
            f"database is at {database_head}: back it up, run `mlflow db upgrade` on it, then "
            "restart headrace."
        )
    return (
        f"MLflow itself serves this route, but the installed version {package.version} does not "
        f"know the database's schema {database_head}: install the release that created it, then "
        "restart headrace."
    )


def _head(revisions: set[str], superseded: set[str]) -> str:
    heads = revisions - superseded
    return heads.pop() if len(heads) == 1 else ""


def _revisions(directory: Path) -> tuple[set[str], set[str]]:
    revisions: set[str] = set()
    superseded: set[str] = set()
    for script in directory.glob("*.py"):
        for is_down, revision in _REVISION.findall(script.read_text(encoding="utf-8")):
            (superseded if is_down else revisions).add(revision)
    return revisions, superseded
