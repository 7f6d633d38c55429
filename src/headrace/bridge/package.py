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
from typing import Final, NamedTuple

from headrace.db.schema import heads
from headrace.extras import install_command

# Modules that stock MLflow's server imports, of packages that the mlflow package requires. An
# installation without them (`pip install --no-deps mlflow`) brings the web page only.
REQUIRED: Final = ("flask", "sqlalchemy", "alembic", "numpy", "pandas")
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


def _places() -> list[str]:
    spec = find_spec("mlflow")
    return list(spec.submodule_search_locations or ()) if spec is not None else []


@cache
def lacking() -> tuple[str, ...]:
    """The modules that an installed mlflow needs and that are not installed."""
    if not _places():
        return ()
    return tuple(name for name in REQUIRED if find_spec(name) is None)


@cache
def installed() -> Package | None:
    """The mlflow package with its server, or None. mlflow-skinny has no server."""
    places = _places()
    if not places or lacking():
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
    """Why stock MLflow cannot serve a route on this database; None when it can."""
    reason = obstacle(package, database_head, auth_head)
    if reason is None:
        return None
    return f"MLflow itself serves this route, but {reason}, then restart headrace."


def absence() -> str | None:
    """Why no mlflow package with a server is installed; None when one is."""
    if lacking():
        return (
            f"MLflow is installed without the packages that it requires ({', '.join(lacking())} …)"
        )
    return "MLflow is not installed together with headrace" if installed() is None else None


class Obstacle(NamedTuple):
    """Why stock MLflow cannot serve a database, and the command that changes it (empty: there is none)."""

    reason: str
    command: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.command}" if self.command else self.reason


def obstacle(
    package: Package | None, database_head: str, auth_head: str | None = None, uri: str = "URI"
) -> Obstacle | None:
    """Why stock MLflow cannot serve this database; None when it can.

    MLflow would migrate a database of another schema when it starts, without asking. `auth_head`
    is the schema of the database of users; None on a server without users. `uri` is the database
    in the command, without its password.
    """
    if package is None:
        return Obstacle(absence() or "", install_command("mlflow"))
    release = f"the installed MLflow {package.version}"
    if package.head != database_head:
        found = _named(database_head)
        if database_head in package.known_heads:
            needs = (
                f"{release} requires schema {_named(package.head)}, but the database is at {found}"
            )
            return Obstacle(needs, f"headrace db upgrade {uri}")
        reason = f"{release} does not know the database's schema {found}"
        return Obstacle(reason, _install(database_head))
    if auth_head not in (None, package.auth_head):
        return Obstacle(
            f"{release} requires schema {package.auth_head or 'none'} of the database of users, "
            f"which is at {auth_head}: install a release with that schema",
            "",
        )
    return None


def _named(head: str) -> str:
    release = heads.release(head)
    return f"{head} ({release})" if release else head


def _install(head: str) -> str:
    """The command that installs a release with this schema."""
    releases = heads.RELEASES.get(head)
    newest = releases.split()[-1] if releases else ""
    return f"pip install 'mlflow=={newest}.*'" if newest else "install the release that created it"


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
