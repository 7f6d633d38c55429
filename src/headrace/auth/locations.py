"""Artifact locations that users choose: which part of the server's own store they name.

The server reads and writes a location with its own credentials, so a user needs the permissions
that the routes of the artifact proxy require for the same path.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote, urlsplit

from headrace.auth.authority import Denied
from headrace.auth.rules import Need, needs
from headrace.contract.errors import invalid
from headrace.contract.paths import TooManyLayers, decoded
from headrace.contract.workspaces import DEFAULT, DIRECTORY
from headrace.settings.defaults import FILE_STORE
from headrace.storage.locations import PROXIED, ROUTE, is_local, local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

    from headrace.auth.access import Access
    from headrace.auth.rules import Rule
    from headrace.settings.table import Settings

_RULES: Final[dict[str, Rule]] = {
    "read": needs(Need("artifact", "read", "path[]", named="artifact_tree")),
    "update": needs(Need("artifact", "update", "path[]", named="artifact_tree")),
}
PROXY: Final = "mlflow-artifacts:"
ABOVE: Final = "."  # a location that contains the whole store
REFERENCES: Final = ("runs", "models")
AZURE: Final = ("wasb", "wasbs", "abfs", "abfss")
BUCKETS: Final = ("s3", "gs")
# A client library may take another name apart: "." is dropped from URLs, "x@bucket" names a user.
_BUCKET: Final = re.compile(r"\$?[A-Za-z0-9][A-Za-z0-9._\-]*")


async def check_location(
    access: Access, uri: str, action: Literal["read", "update"], settings: Settings
) -> None:
    """Raise `Denied` unless the caller may do this with all that `uri` names in the server's store.

    A location elsewhere needs no permission. Local links are resolved on disk, in a thread.
    """
    if access.username is None or access.is_admin:
        return
    try:
        found = await asyncio.to_thread(own_paths, uri, action, settings)
    except ValueError as error:  # no URI, a NUL, or too many layers of percent-encoding
        raise Denied from error
    if found:
        # The rule takes no empty path.
        await access.require(_RULES[action], {"path": [path or ABOVE for path in sorted(found)]})


def check_apart(uri: str, workspace: str, settings: Settings, roots: Mapping[str, str]) -> None:
    """Raise INVALID_PARAMETER_VALUE if another workspace may have files at a location.

    `roots` are the artifact roots of the workspaces that have their own. Below the server's root,
    each workspace has a directory, and files outside of these belong to `default`. A location
    elsewhere belongs to every workspace.
    """
    try:
        owners = set(_owners(uri, workspace, settings, roots))
    except (ValueError, Denied):  # no URI, or one that another program may read otherwise
        owners = {None}
    if owners - {workspace}:
        raise invalid(
            f"The location '{uri}' is not in the part of the artifact store of workspace '{workspace}'."
        )


def _owners(
    uri: str, workspace: str, settings: Settings, roots: Mapping[str, str]
) -> Iterator[str | None]:
    """The workspaces whose files a location may contain; None for several."""
    if workspace in roots and _paths_below(uri, "update", {*_places(roots[workspace])}):
        return
    for name, root in roots.items():
        if name != workspace and _paths_below(uri, "read", {*_places(root)}):
            yield name
    for path in own_paths(uri, "read", settings):
        first, _, rest = path.partition("/")
        if not path:
            yield None
        else:
            yield rest.partition("/")[0] if first == DIRECTORY else DEFAULT


def own_paths(uri: str, action: str, settings: Settings) -> set[str]:
    """The paths in the server's store that a location may name; "" is the store itself.

    A reader of a directory above the store reads all of it, but a run of an experiment in that
    directory writes beside it. Raises `Denied` and ValueError.
    """
    if urlsplit(uri).scheme in REFERENCES:
        if action == "read":
            return set()  # the rule and the check of the source judge what they refer to
        raise Denied
    own = (settings.artifacts_destination, settings.default_artifact_root, FILE_STORE)
    return _paths_below(
        uri, action, {(PROXY, "/"), *(place for root in own for place in _places(root))}
    )


def _paths_below(uri: str, action: str, roots: Set[tuple[str, str]]) -> set[str]:
    """As `own_paths`, for stores with these roots."""
    found = set()
    for place, path in _places(uri):
        for root_place, root in roots:
            if place != root_place:
                continue
            if _is_below(path, root):
                found.add(path[len(root) :].strip("/"))
            elif action == "read" and _is_below(root, path):
                found.add("")
    return found


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")


def _places(uri: str) -> Iterator[tuple[str, str]]:
    """The store and the absolute normal path of every reading of a location."""
    parts = urlsplit(uri)
    path = parts.path
    if parts.scheme == "mlflow-artifacts":
        yield PROXY, _normal(path)
        return
    if parts.scheme in PROXIED and ROUTE in path:
        yield PROXY, _normal(path.partition(ROUTE)[2])
        return
    if is_local(uri):
        # "FILE:/a" is a relative path here, and /a elsewhere.
        for given in {local_path(uri), unquote(path)}:
            # The store drops ".." from the text; the system follows links first.
            for plain in (os.path.abspath(given), given):  # noqa: PTH100
                yield "file:", os.path.realpath(plain)
        return
    host = parts.netloc.lower()  # part of a host name, which has no case
    store = f"{parts.scheme}://{host}"
    if parts.scheme in AZURE:  # two protocols, and the account may come from the environment
        host = host.partition("@")[0]
        store = f"azure:{host}"
    if (parts.scheme in BUCKETS or parts.scheme in AZURE) and not _BUCKET.fullmatch(host):
        raise Denied
    yield store, _normal(path)
    try:
        yield store, _normal(decoded(path))
    except TooManyLayers as error:
        raise Denied from error


def _normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))
