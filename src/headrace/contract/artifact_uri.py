"""Artifact URIs as text: appending paths, and the locations that clients may choose. No I/O.

The rules and messages are MLflow's.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlparse, urlsplit, urlunparse, urlunsplit

from headrace.contract.errors import invalid
from headrace.contract.paths import TooManyLayers, decoded

ALLOWED_SCHEMES_VARIABLE: Final = "MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES"
MAX_LOCATION_VARIABLE: Final = "MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH"
MAX_LOCATION: Final = 2048  # characters; the default of the variable
# With these schemes the server would connect to a host of the client's choice.
HOST_ADDRESSED: Final = frozenset(
    {"ftp", "sftp", "hdfs", "viewfs", "http", "https", "mlflow-artifacts", "r2", "b2", "abfss"}
)
# Locations to which `append_path` appends a slash and the parts, and changes nothing else, so that SQL
# can do the same. Others have a query, say, or end with a slash.
PLAIN: Final = re.compile(
    "(/|file:///|mlflow-artifacts:/|[a-z][a-z0-9+.-]*://)[A-Za-z0-9_.~=:@-]+(/[A-Za-z0-9_.~=:@-]+)*"
)


def append_path(uri: str, *parts: str) -> str:
    """Append parts to the path of `uri`; its query and fragment stay at the end.

    `s3://b/p?x=1` and `run/artifacts` give `s3://b/p/run/artifacts?x=1`. Raises INVALID_PARAMETER_VALUE if the
    query contains `..`.
    """
    tail = "/".join(part.strip("/") for part in parts)
    split = urlparse(uri)
    check_query(split.query)
    if not split.scheme:
        return _join(uri, tail)
    if not split.path.startswith("/"):
        # urlunparse would make the relative path of "file:a" and the empty one of "s3://b" absolute.
        rest = split._replace(scheme="", path=_join(split.path, tail))
        return f"{split.scheme}:{urlunparse(rest)}"
    return urlunparse(split._replace(path=_join(split.path, tail)))


def _join(head: str, tail: str) -> str:
    if not head:
        return tail
    return posixpath.join(head, tail)


def check_query(query: str) -> None:
    """Raise INVALID_PARAMETER_VALUE if a URI's query contains `..`, in any encoding."""
    try:
        escapes = ".." in decoded(query)
    except TooManyLayers as error:
        raise invalid("Invalid query string") from error
    if escapes:
        raise invalid("Invalid query string")


def check_location(uri: str, field: str, *roots: str) -> str:
    """Check a location that a client chose and make it absolute. Raises INVALID_PARAMETER_VALUE.

    `roots` are the server's own artifact root and destination, whose hosts are trusted.
    """
    split = urlsplit(uri)
    if urlparse(uri).fragment or urlparse(uri).params:
        raise invalid(f"'{field}' URL can't include fragments or params.")
    check_query(split.query)
    check_host(uri, field, *roots)
    limit = int(os.environ.get(MAX_LOCATION_VARIABLE, MAX_LOCATION))
    if len(uri) > limit:
        raise invalid(
            "Invalid artifact path length. The length of the artifact path cannot be greater than "
            f"{limit} characters. To configure this limit, please set the "
            f"{MAX_LOCATION_VARIABLE} environment variable."
        )
    return make_absolute(uri)


def check_host(uri: str, field: str, *roots: str) -> None:
    """Raise INVALID_PARAMETER_VALUE if the server would connect to a host of the client's choice."""
    scheme = refused_scheme(uri, *roots)
    if scheme is None:
        return
    raise invalid(
        f"'{field}' cannot use the '{scheme}' scheme: the '{scheme}' scheme addresses a host other "
        "than the tracking server's configured artifact storage, so the server would connect to "
        f"the host named in the URI. Set the {ALLOWED_SCHEMES_VARIABLE} environment variable on "
        "the server to allow it."
    )


def refused_scheme(uri: str, *roots: str) -> str | None:
    """Return the scheme of a URI to whose host the server must not connect, or None.

    `roots` are the server's own artifact root and destination, whose hosts are trusted.
    """
    split = urlsplit(uri)
    scheme = split.scheme.lower()
    if scheme not in HOST_ADDRESSED or (scheme == "mlflow-artifacts" and not split.netloc):
        return None
    allowed = {s.strip() for s in os.environ.get(ALLOWED_SCHEMES_VARIABLE, "").split(",")}
    if scheme in allowed or any(
        (urlsplit(root).scheme.lower(), urlsplit(root).netloc) == (scheme, split.netloc)
        for root in roots
    ):
        return None
    return scheme


def make_absolute(uri: str) -> str:
    """Make a relative path, or a `file:` URI of one, absolute; return other URIs unchanged."""
    split = urlsplit(uri)
    if split.scheme == "":
        return uri if uri.startswith("/") else (Path.cwd() / uri).as_posix()
    if split.scheme == "file" and not split.netloc and not split.path.startswith("/"):
        path = (Path.cwd() / split.path).as_posix()
        return urlunsplit(("file", None, path, split.query, split.fragment))
    return uri
