"""Default locations of data, as in stock MLflow, and comparison of locations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.db.uri import parse
from headrace.settings.kinds import SettingError

if TYPE_CHECKING:
    from headrace.db.base import Dialect

DEFAULT_URI: Final = "sqlite:///mlflow.db"
FILE_STORE: Final = "./mlruns"
PROXY_ROOT: Final = "mlflow-artifacts:/"  # artifacts go through this server


def scheme_of(uri: str) -> str:
    """Return the scheme of a URI without its driver (`+psycopg2`), or "" for a path."""
    scheme, mark, _ = uri.partition(":")
    # A single letter is a Windows drive.
    return scheme.partition("+")[0].lower() if mark and len(scheme) > 1 else ""


def dialect_of(uri: str) -> Dialect:
    """Return the dialect of a database URI. Raises SettingError, with advice, if headrace does not serve it."""
    return parse(uri).dialect


def same_database(uri: str, other: str) -> bool:
    """Whether two URIs, in any spelling, name the same database. Raises SettingError as `dialect_of`."""
    one, two = parse(uri), parse(other)
    return uri == other or (one.dialect, one.path, one.connect_args) == (
        two.dialect,
        two.path,
        two.connect_args,
    )


def default_uri() -> str:
    """Return the default database: mlflow.db in the working directory, as for `mlflow server`.

    Raises SettingError if ./mlruns holds experiments. Stock MLflow would serve those files; with an
    empty database instead, all runs would seem to be lost. The message says how to proceed.
    """
    if not _holds_file_store(Path(FILE_STORE)):
        return DEFAULT_URI
    raise SettingError(
        "./mlruns holds experiments in a file store, which headrace does not serve. To keep them, "
        "copy them into a database with\n  headrace import ./mlruns --backend-store-uri "
        "sqlite:///mlflow.db\nThen, or to start without them, set the database: "
        "--backend-store-uri sqlite:///mlflow.db."
    )


def default_artifact_root(serve_artifacts: bool) -> str:
    """Return the default artifact root of new experiments: this server, or else ./mlruns."""
    return PROXY_ROOT if serve_artifacts else FILE_STORE


def absolute(uri: str) -> str:
    """Make a relative path, or a `file:` URI of one, absolute; return any other URI unchanged."""
    scheme = scheme_of(uri)
    path = uri.partition(":")[2] if scheme == "file" else uri
    if scheme not in ("", "file") or path.startswith("/"):
        return uri
    return f"{'file://' if scheme else ''}{(Path.cwd() / path).as_posix()}"


def _holds_file_store(directory: Path) -> bool:
    """Whether a directory contains experiments of MLflow's file store: NUMBER/meta.yaml."""
    try:
        return any(
            entry.name.isdigit() and os.path.lexists(entry / "meta.yaml")
            for entry in directory.iterdir()
        )
    except OSError:
        return False
