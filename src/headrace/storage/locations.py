"""From an artifact URI, as experiments, runs and models carry it, to a store and a path in it."""

from __future__ import annotations

import posixpath
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from headrace.artifact_uri import refused_scheme
from headrace.errors import invalid
from headrace.file_names import native
from headrace.storage.local import LocalStore

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.storage.base import Store
    from headrace.storage.objects import ObjectStore
    from headrace.storage.repository import RepositoryStore

ROUTE: Final = (
    "/api/2.0/mlflow-artifacts/artifacts/"  # what an http(s) artifact URI has in its path
)
PROXIED: Final = ("mlflow-artifacts", "http", "https")
OBJECT_STORES: Final = ("s3", "gs", "wasbs", "abfss")
# Uploads wait in a thread for the disk; a disk makes many of them durable at once.
THREADS: Final = 16
MAX_BUCKETS: Final = 64  # opened ones that are kept: clients may name any number


class Place(NamedTuple):
    """A path in a store. `given` is the part of it that the client named, None for the root itself."""

    store: Store
    path: str
    given: str | None
    proxied: bool

    def relative(self, name: str) -> str:
        """A name in this directory as a listing shows it: below the root that the client knows."""
        if not self.given:
            return name
        given = self.given if self.proxied else posixpath.normpath(self.given)
        return name if given == "." and not self.proxied else posixpath.join(given, name)

    @property
    def shown(self) -> str:
        """The path as messages name it."""
        return self.path if self.proxied else self.given or ""


class Locations:
    """Every place this process reads artifacts from or writes them to. Stores are opened on first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._buckets: dict[str, ObjectStore | RepositoryStore] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="artifacts")

    @cached_property
    def destination(self) -> Store:
        """Where the artifacts go that clients send through this server."""
        return self._open(self._settings.artifacts_destination)

    @property
    def capabilities(self) -> tuple[bool, bool]:
        """Whether clients may upload to, and download from, the destination's own store in parts."""
        scheme = urlsplit(self._settings.artifacts_destination).scheme
        if scheme not in OBJECT_STORES or not self._settings.serve_artifacts:
            return False, False
        return self.destination.uploads_parts, self.destination.downloads_parts

    def place(self, root: str, given: str | None) -> Place:
        """Where the artifact `given` of a run or model is whose artifact URI is `root`.

        `given` has passed `paths.safe`. Raises INVALID_PARAMETER_VALUE for a URI that is not served.
        """
        parts = urlsplit(root)
        if parts.scheme in PROXIED and self._settings.serve_artifacts:
            path = parts.path.lstrip("/")
            if parts.scheme != "mlflow-artifacts":
                _, anchor, path = parts.path.partition(ROUTE)
                if not anchor:
                    raise invalid(f"Artifact location '{root}' is not on an artifact server.")
            path = posixpath.join(path.lstrip("/"), given) if given is not None else path
            return Place(self.destination, path, given, proxied=True)
        self._check_host(root)
        return Place(self._open(root), given or "", given, proxied=False)

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

    def _open(self, uri: str) -> Store:
        parts = urlsplit(uri)
        scheme = parts.scheme
        if scheme in ("", "file"):
            sync = self._settings.artifact_synchronous == "full"
            return LocalStore(local_path(uri), self._threads, sync=sync)
        from headrace.storage.repository import RepositoryStore

        if scheme in OBJECT_STORES:
            bucket = self._bucket(uri)
            if not isinstance(bucket, RepositoryStore):
                return bucket.below(parts.path)
        return RepositoryStore(uri, self._threads)

    def _bucket(self, uri: str) -> ObjectStore | RepositoryStore:
        """The bucket of a URI, with its connections; opened once."""
        from headrace.storage import objects

        parts = urlsplit(uri)
        root = f"{parts.scheme}://{parts.netloc}"
        bucket = self._buckets.get(root)
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets.clear()
            bucket = self._buckets[root] = objects.open_store(root, self._threads, self._settings)
        return bucket

    def close(self) -> None:
        """Finish what worker threads are doing."""
        self._threads.shutdown()


def local_path(uri: str) -> str:
    """The directory that a path or a `file:` URI names; percent-encoded either way, as in MLflow."""
    return native(unquote(urlsplit(uri).path if uri.startswith("file:") else uri))
