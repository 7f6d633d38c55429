"""MLflow's rules for the `source` of a model version. Only the check of local paths does I/O.

A source that the server would resolve itself (local paths, the artifact proxy, runs:/,
models:/<id>) must be inside the run or logged model that `run_id` or `model_id` names; any other
URI is accepted.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote_plus, urlsplit

from headrace.contract.artifact_uri import check_host
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.paths import TooManyLayers, climbs, decoded

PATTERN_VARIABLE: Final = "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX"
PROMPT_SOURCES: Final = frozenset({"dummy-source", "prompt-template"})
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1")
PROXY_ROUTE: Final = ["api", "2.0", "mlflow-artifacts", "artifacts"]


class ModelUri(NamedTuple):
    """The target of a `models:/` URI: a logged model, or a version of a registered model.

    The version is given by its number, stage or alias. Without any of these it is the newest.
    """

    model_id: str | None = None
    name: str = ""
    version: str | None = None
    stage: str | None = None
    alias: str | None = None


def split(source: str) -> SplitResult:
    """The parts of a source. Raises INVALID_PARAMETER_VALUE if it is not a URI."""
    try:
        parts = urlsplit(source)
        parts.hostname  # noqa: B018 the access raises for a wrong host
    except ValueError as error:
        raise invalid(f"Invalid model version source: '{source}'. {error}.") from error
    return parts


def check_pattern(source: str) -> None:
    """Raise unless the source matches the operator's pattern, if there is one."""
    pattern = os.environ.get(PATTERN_VARIABLE)
    if pattern and not re.search(pattern, source):
        raise invalid(f"Invalid model version source: '{source}'.")


def check_prompt(source: str) -> None:
    """Raise unless the source is one of the placeholders for prompts."""
    if source not in PROMPT_SOURCES:
        raise invalid(
            f"Invalid prompt source: '{source}'. Prompt sources must use an MLflow placeholder."
        )


def check_scheme(source: str, *roots: str) -> None:
    """Raise if the server would connect to a host of the client's choice."""
    split(source)
    check_host(source, "source", *roots)


def not_contained(source: str, field: str) -> ApiError:
    """Return the error for a source outside the resource that the request names."""
    return invalid(
        f"Invalid model version source: '{source}'. The {field} request parameter must "
        "identify the resource that contains the source."
    )


def parse_models_uri(source: str) -> ModelUri:
    """The target of a `models:/` source. Raises INVALID_PARAMETER_VALUE."""
    path = urlsplit(source, allow_fragments=False).path
    parts = path.lstrip("/").split("/")
    if not path.startswith("/") or len(parts) > 2 or not parts[0].strip():
        raise not_contained(source, "model_id")
    if len(parts) == 1:
        if "@" not in path:
            return ModelUri(model_id=parts[0])
        name, _, alias = parts[0].rpartition("@")
        if not alias.strip():
            raise not_contained(source, "model_id")
        return ModelUri(name=name, alias=alias)
    name, suffix = parts
    if not suffix.strip():
        raise not_contained(source, "model_id")
    if suffix.isdigit():
        return ModelUri(name=name, version=suffix)
    return ModelUri(name=name, stage=None if suffix.lower() == "latest" else suffix)


def is_local(source: str) -> bool:
    """Whether a URI is a path on this machine."""
    parts = split(source)
    if not parts.scheme:
        return True
    host = parts.hostname
    is_remote = bool(host) and host != "." and not str(host).startswith(LOCAL_HOSTS)
    if parts.scheme == "file" and is_remote:
        raise ApiError(
            ErrorCode.INTERNAL_ERROR,
            f"{source} is not a valid remote uri. For remote access on windows, please consider "
            "using a different scheme such as SMB (e.g. smb://<hostname>/<path>).",
        )
    return parts.scheme == "file"


def is_proxied(source: str) -> bool:
    """Whether a URI refers to the artifact proxy of a tracking server."""
    scheme, _, parts = _parts(source)
    if scheme == "mlflow-artifacts":
        return True
    length = len(PROXY_ROUTE)
    return scheme in ("http", "https") and any(
        parts[n : n + length] == PROXY_ROUTE for n in range(len(parts) - length + 1)
    )


def needs_root(source: str) -> bool:
    """Whether the source must be inside the artifacts of a run or logged model."""
    return is_local(source) or is_proxied(source)


def check_contained(source: str, run_id: str, model_id: str, root: str | None) -> None:
    """Raise unless the source may be used with these ids.

    `root` is the artifact URI of the logged model, or else of the run; None if that does not exist.
    Resolving symbolic links of local paths reads the file system.
    """
    field, given = ("model_id", model_id) if model_id else ("run_id", run_id)
    if is_local(source):
        _check_local(source, field, given, root)
        return
    _check_absolute(source)
    parts = split(source)
    if parts.scheme == "runs":
        named = parts.path.lstrip("/").split("/", 1)[0]
        if parts.netloc or field != "run_id" or not given or named != given:
            raise not_contained(source, field)
    elif parts.scheme == "models":
        named_model = None if parts.netloc else parse_models_uri(source).model_id
        if parts.netloc or (named_model is not None and named_model != model_id):
            raise not_contained(source, "model_id")
    elif is_proxied(source) and not (given and root and _is_within(source, root)):
        raise not_contained(source, field)


def _check_local(source: str, field: str, given: str, root: str | None) -> None:
    if given:
        if root is None:
            raise not_contained(source, field)
        path = _resolved(source)
        if is_local(root) and _resolved(root) in (path, *path.parents):
            return
        source = str(path)
    raise invalid(
        f"Invalid model version source: '{source}'. To use a local path as a model version "
        f"source, the {field} request parameter has to be specified and the local path has to be "
        f"contained within the artifact directory of the run specified by the {field}."
    )


def _resolved(uri: str) -> Path:
    # Imported here because it loads http.client and email, which would add 13 ms to every start.
    from urllib.request import url2pathname

    path = split(uri).path if uri.startswith("file:") else uri
    try:
        return Path(url2pathname(path)).resolve()
    except (ValueError, OSError, RuntimeError) as error:  # a NUL, or a loop of links
        raise invalid(f"Invalid model version source: '{uri}'. {error}.") from error


def _check_absolute(source: str) -> None:
    """Refuse `..` and other relative parts, however often they are percent-encoded.

    Only the text is checked: symbolic links on the server's disk do not apply to a bucket.
    """
    try:
        plain = decoded(source, unquote_plus)
    except TooManyLayers as error:
        raise _not_absolute(source) from error
    path = re.sub(r"/+", "/", split(plain).path.rstrip("/"))
    if (
        "\x00" in path
        or climbs(plain)
        or not path.startswith("/")
        or posixpath.normpath(path) != path
    ):
        raise _not_absolute(source)


def _not_absolute(source: str) -> ApiError:
    return invalid(
        f"Invalid model version source: '{source}'. If supplying a source as an http, https, "
        "local file path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be "
        "provided without relative path references present. Please provide an absolute path."
    )


def _parts(uri: str) -> tuple[str, str, list[str]]:
    parts = split(uri)
    try:
        segments = [decoded(segment) for segment in parts.path.split("/") if segment]
    except TooManyLayers as error:
        raise _not_absolute(uri) from error
    return parts.scheme.lower(), parts.netloc.lower(), segments


def _is_within(source: str, root: str) -> bool:
    scheme, host, segments = _parts(source)
    root_scheme, root_host, root_segments = _parts(root)
    return (
        (scheme, host) == (root_scheme, root_host)
        and bool(root_segments)
        and segments[: len(root_segments)] == root_segments
    )
