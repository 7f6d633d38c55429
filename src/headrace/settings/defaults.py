"""Where data goes when nothing is said, as in stock MLflow. URIs of databases are db/uri.py's part."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.settings.kinds import SettingError

if TYPE_CHECKING:
    from headrace.db.base import Dialect

DEFAULT_URI: Final = "sqlite:///mlflow.db"
FILE_STORE: Final = "./mlruns"
PROXY_ROOT: Final = "mlflow-artifacts:/"  # the artifact root that means "through this server"


def scheme_of(uri: str) -> str:
    """The scheme of a URI, without a driver (`+psycopg2`); empty for a path."""
    scheme, mark, _ = uri.partition(":")
    # one letter is a Windows drive
    return scheme.partition("+")[0].lower() if mark and len(scheme) > 1 else ""


def dialect_of(uri: str) -> Dialect:
    """The database a URI leads to. Raises SettingError with what to do when it is none we serve."""
    from headrace.db.uri import parse

    return parse(uri).dialect


def same_database(uri: str, other: str) -> bool:
    """Whether two URIs, however they are spelled, lead to one database. Raises SettingError as `dialect_of`."""
    from headrace.db.uri import parse

    one, two = parse(uri), parse(other)
    return uri == other or (one.dialect, one.path, one.connect_args) == (
        two.dialect,
        two.path,
        two.connect_args,
    )


def default_uri() -> str:
    """The database when none is named: the file mlflow.db here, as for `mlflow server`.

    Where ./mlruns holds experiments, stock MLflow serves those files instead. A server on an empty
    database beside them would look as if all runs were lost, so that is a SettingError with the two
    ways out.
    """
    if not _holds_file_store(Path(FILE_STORE)):
        return DEFAULT_URI
    raise SettingError(
        "./mlruns holds experiments in a file store, which headrace does not serve. To keep them, "
        "copy them into a database with\n  mlflow migrate-filestore --source ./mlruns --target "
        "sqlite:///mlflow.db\nThen, or to begin without them, name the database: "
        "--backend-store-uri sqlite:///mlflow.db."
    )


def default_artifact_root(serve_artifacts: bool) -> str:
    """Where artifacts of new experiments go: through this server, or into ./mlruns."""
    return PROXY_ROOT if serve_artifacts else FILE_STORE


def absolute(uri: str) -> str:
    """A relative path, or `file:` URI of one, made absolute; any other URI as it is."""
    scheme = scheme_of(uri)
    path = uri.partition(":")[2] if scheme == "file" else uri
    if scheme not in ("", "file") or path.startswith("/"):
        return uri
    return f"{'file://' if scheme else ''}{(Path.cwd() / path).as_posix()}"


def _holds_file_store(directory: Path) -> bool:
    """Whether a directory has experiments as MLflow's file store keeps them: NUMBER/meta.yaml."""
    try:
        return any(
            entry.name.isdigit() and os.path.lexists(entry / "meta.yaml")
            for entry in directory.iterdir()
        )
    except OSError:
        return False
