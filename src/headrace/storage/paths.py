"""Checks and normalises artifact paths. No I/O.

The rules are MLflow's; tests/storage/test_paths.py compares them with MLflow.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import PureWindowsPath
from typing import Final
from urllib.parse import unquote, urlparse, urlunparse

from headrace.contract.errors import ApiError, invalid
from headrace.contract.paths import TooManyLayers, climbs, decoded
from headrace.contract.workspaces import DEFAULT, DIRECTORY

# Stock MLflow's prefix for incomplete files.
STAGING_PREFIX: Final = ".artifact.uploading."
# A path of these characters has the same meaning however it is decoded; only `..` remains to be
# checked.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.\-][A-Za-z0-9_.\-/ ]*[A-Za-z0-9_.\-/]|[A-Za-z0-9_.\-]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def refused() -> ApiError:
    """The answer to a path that leaves its root, or could after decoding."""
    return invalid("Invalid path")


def outside() -> ApiError:
    """The answer to a path that leaves its root through a symbolic link."""
    return invalid("Invalid path: resolved path is outside the artifact directory")


def safe(path: str) -> str:
    """The path without its layers of percent-encoding, if it stays below its root.

    Raises INVALID_PARAMETER_VALUE for `..` segments, absolute paths, drive letters, `file:` and
    `#`. Control characters are percent-encoded in the result, which may be empty or end with a
    slash.
    """
    if not _PLAIN.fullmatch(path):
        path = _CONTROL.sub(_escaped, _decoded(path))
        if "#" in path or urlparse(path).scheme == "file":
            raise refused()
        if path.startswith("/") or PureWindowsPath(path).is_absolute():
            raise refused()
    if climbs(path):
        raise refused()
    return path


def of_object(path: str) -> str:
    """The path of an artifact object in a URL, made safe. Raises INVALID_PARAMETER_VALUE."""
    if "\n" in path:  # stock's router matches no such path, and `safe` would drop the line end
        raise refused()
    return safe(path)


def _escaped(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02x}"


def _decoded(path: str) -> str:
    try:
        return decoded(path, _without_layer)
    except ValueError as error:  # too many layers, or "//[", which is not a valid URL
        raise refused() from error


def _without_layer(path: str) -> str:
    # Splitting and joining as a URL drops an empty query or parameter part ("a?" is "a"), tabs,
    # line ends and leading blanks. MLflow does the same, so that a path names the same file in
    # both.
    return urlunparse(urlparse(unquote(path)))


def check_decoded(path: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a path that has `..` segments after percent-decoding."""
    try:
        plain = decoded(path)
    except TooManyLayers as error:
        raise refused() from error
    if climbs(plain):
        raise refused()


def normal(path: str) -> str:
    """A safe path without `.`, empty segments and trailing slashes; "" is the root."""
    plain = posixpath.normpath(path) if path else ""
    return "" if plain == "." else plain


def in_workspace(path: str, workspace: str) -> str:
    """The path in the store for a safe path that a client in a workspace sent; "" is the root.

    A workspace has the directory `workspaces/NAME`, which clients may leave out. Files from the time
    before the server had workspaces lie outside of it, and belong to `default`. Raises
    INVALID_PARAMETER_VALUE for a path of another workspace, and for the directory of all of them.
    """
    plain = path.lstrip("/")
    head, _, rest = plain.partition("/")
    if head != DIRECTORY:
        if workspace != DEFAULT:
            return posixpath.join(DIRECTORY, workspace, *filter(None, (plain,)))
        usual = normal(plain)  # of "./workspaces/NAME"
        is_of_workspace = usual.partition("/")[0] == DIRECTORY
        return in_workspace(usual, workspace) if is_of_workspace else path
    named = rest.partition("/")[0]
    if not named:
        raise invalid("Artifact paths prefixed with 'workspaces/' must include a workspace name.")
    if named != workspace:
        raise invalid(
            f"Artifact path targets workspace '{named}' but the workspace specified in the request "
            f"is '{workspace}'."
        )
    return plain


def upload_target(path: str) -> str:
    """A safe path for writing a file, in normal form.

    Raises INVALID_PARAMETER_VALUE for a directory part that is not in normal form, and for the name
    of a staging file.
    """
    directory, name = posixpath.split(path)
    if directory and (posixpath.normpath(directory) != directory or directory == "."):
        raise invalid(
            f"Invalid artifact path: '{directory}'. Names may be treated as files in certain "
            "cases, and must not resolve to other names when treated as such. "
            "This name would resolve to "
            f"{posixpath.normpath(directory)!r}"
        )
    if name.startswith(STAGING_PREFIX):
        raise invalid(
            f"Invalid artifact file name: '{name}'. "
            f"Artifact names starting with '{STAGING_PREFIX}' are reserved."
        )
    if name in ("", "."):
        raise invalid(f"Artifact path refers to a directory, not a file: '{path}'")
    return posixpath.join(directory, name)
