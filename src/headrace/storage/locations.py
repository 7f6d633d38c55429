"""Resolves the artifact URI of an experiment, run or model to a store and a path in it."""

from __future__ import annotations

import os
import posixpath
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from headrace.contract.artifact_uri import refused_scheme
from headrace.contract.errors import ApiError, invalid
from headrace.contract.file_names import native
from headrace.settings.defaults import FILE_STORE
from headrace.storage import paths
from headrace.storage.local import LocalStore
from headrace.storage.staging import below

if TYPE_CHECKING:
    from headrace.settings.table import Settings
    from headrace.storage.base import Store
    from headrace.storage.objects import ObjectStore
    from headrace.storage.repository import RepositoryStore

# A part of the path of http(s) artifact URIs.
ROUTE: Final = "/api/2.0/mlflow-artifacts/artifacts/"
PROXIED: Final = ("mlflow-artifacts", "http", "https")
OBJECT_STORES: Final = ("s3", "gs", "wasbs", "abfss")
# Uploads wait in a thread for the disk, which can sync many of them at once.
THREADS: Final = 16
MAX_BUCKETS: Final = 64  # kept open; clients may name any number


class ArtifactPath(NamedTuple):
    """A path in a store. `given` is the part that the client named, None for the root."""

    store: Store
    path: str
    given: str | None
    proxied: bool

    def relative(self, name: str) -> str:
        """A name in this directory as listings show it: relative to the root that the client knows."""
        if not self.given:
            return name
        given = self.given if self.proxied else posixpath.normpath(self.given)
        return name if given == "." and not self.proxied else posixpath.join(given, name)

    @property
    def shown(self) -> str:
        """The path for messages."""
        return self.path if self.proxied else self.given or ""


class Locations:
    """The stores that this process reads artifacts from and writes them to, opened on first use.

    Clients choose the artifact locations of experiments, so a server accesses only local paths
    below its own roots. `anywhere` is for commands, which run with the rights of their user.
    """

    def __init__(self, settings: Settings, *, anywhere: bool = False) -> None:
        self._settings = settings
        self._roots = ["/"] if anywhere else local_roots(settings)
        self._buckets: dict[str, ObjectStore | RepositoryStore] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="artifacts")

    def within(self, workspace: str) -> WorkspaceLocations:
        """The same stores, for the requests of one workspace."""
        return WorkspaceLocations(self, workspace)

    def scoped(self, path: str) -> str:
        """The path in `destination` for a safe path that a client sent. See `WorkspaceLocations`."""
        return path

    @cached_property
    def destination(self) -> Store:
        """The store for artifacts that clients send through this server."""
        uri = self._settings.artifacts_destination
        return self._local(uri) if is_local(uri) else self._remote(uri)

    @property
    def capabilities(self) -> tuple[bool, bool]:
        """Whether clients may upload in parts to the destination's store, and download from it, directly."""
        scheme = urlsplit(self._settings.artifacts_destination).scheme
        if scheme not in OBJECT_STORES or not self._settings.serve_artifacts:
            return False, False
        return self.destination.uploads_parts, self.destination.downloads_parts

    def resolve(self, root: str, given: str | None) -> ArtifactPath:
        """The location of the artifact `given` of a run or model with the artifact URI `root`.

        `given` has passed `paths.safe`. Raises INVALID_PARAMETER_VALUE for a URI that is not served.
        """
        parts = urlsplit(root)
        if parts.scheme in PROXIED and self._settings.serve_artifacts:
            path = parts.path.lstrip("/")
            if parts.scheme != "mlflow-artifacts":
                _, anchor, path = parts.path.partition(ROUTE)
                if not anchor:
                    raise invalid(f"Artifact location '{root}' is not on an artifact server.")
            paths.check_decoded(path)
            path = posixpath.join(path.lstrip("/"), given) if given is not None else path
            return ArtifactPath(self.destination, self.scoped(path), given, proxied=True)
        if is_local(root):
            store: Store = self._local(root, self._bounds(root))
        else:
            self._check_host(root)
            store = self._remote(root)
        return ArtifactPath(store, given or "", given, proxied=False)

    def _bounds(self, uri: str) -> str:
        path = os.path.abspath(local_path(uri))
        for root in self._roots:
            if below(root, path):
                return root
        raise elsewhere(uri)

    def _check_host(self, uri: str) -> None:
        settings = self._settings
        scheme = refused_scheme(uri, settings.default_artifact_root, settings.artifacts_destination)
        if scheme is not None:
            raise invalid(
                f"The tracking server does not connect to artifact location '{uri}': the '{scheme}' "
                "scheme addresses a host other than the tracking server's configured artifact "
                "storage, so the server would connect to the host named in the URI. Set the "
                "MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES environment variable on the server "
                "to allow it."
            )
        if urlsplit(uri).scheme == "mlflow-artifacts":
            raise invalid(
                f"Artifact location '{uri}' is served by an artifact server, and this one runs with "
                "--no-serve-artifacts."
            )

    def _local(self, uri: str, bounds: str | None = None) -> LocalStore:
        sync = self._settings.artifact_synchronous == "full"
        return LocalStore(local_path(uri), self._threads, sync=sync, bounds=bounds)

    def _remote(self, uri: str) -> Store:
        # Imported here to save start-up time: most servers have local artifacts only.
        from headrace.storage.repository import RepositoryStore

        parts = urlsplit(uri)
        if parts.scheme in OBJECT_STORES:
            bucket = self._bucket(uri)
            if not isinstance(bucket, RepositoryStore):
                return bucket.below(parts.path)
        return RepositoryStore(uri, self._threads)

    def _bucket(self, uri: str) -> ObjectStore | RepositoryStore:
        """The bucket of a URI. It is opened once and keeps its connections."""
        # Imported here to save start-up time: obstore is large, and local artifacts do not need it.
        from headrace.storage.buckets import open_bucket

        parts = urlsplit(uri)
        root = f"{parts.scheme}://{parts.netloc}"
        bucket = self._buckets.get(root)
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets.clear()
            bucket = self._buckets[root] = open_bucket(root, self._threads, self._settings)
        return bucket

    def close(self) -> None:
        """Wait for the worker threads to finish."""
        self._threads.shutdown()


class WorkspaceLocations(Locations):
    """The stores of a process, for the requests of one workspace.

    A location elsewhere than in the server's own store is the same in every workspace.
    """

    def __init__(self, process: Locations, workspace: str) -> None:
        self.__dict__ |= process.__dict__
        self._process = process
        self._workspace = workspace

    @property
    def destination(self) -> Store:
        """See `Locations.destination`; opened once for all workspaces."""
        return self._process.destination

    def scoped(self, path: str) -> str:
        """See `Locations.scoped`. Raises INVALID_PARAMETER_VALUE for a path of another workspace."""
        return paths.in_workspace(path, self._workspace)


def elsewhere(uri: str) -> ApiError:
    """The error for a local artifact location outside of the server's directories."""
    return invalid(
        f"The tracking server does not read or write artifact location '{uri}': it is outside of "
        "the server's artifact directories. Clients on a machine that has this path can use it "
        "directly. To let the server use it, add a directory above it to "
        "--local-artifact-roots (HEADRACE_LOCAL_ARTIFACT_ROOTS)."
    )


def is_local(uri: str) -> bool:
    """Whether a URI is a path on this machine."""
    return urlsplit(uri).scheme in ("", "file")


def local_roots(settings: Settings) -> list[str]:
    """The directories below which a server reads and writes artifacts.

    They include ./mlruns even when it is not the default root: without a server MLflow puts
    artifacts there, and a server for the same database often starts in the same directory.
    """
    named = (settings.local_artifact_roots or "").split(",")
    uris = [
        settings.artifacts_destination,
        settings.default_artifact_root,
        FILE_STORE,
        *filter(None, map(str.strip, named)),
    ]
    return [os.path.abspath(local_path(uri)) for uri in uris if is_local(uri)]


def local_path(uri: str) -> str:
    """The directory that a path or a `file:` URI names. Both are percent-decoded, as in MLflow."""
    return native(unquote(urlsplit(uri).path if uri.startswith("file:") else uri))
