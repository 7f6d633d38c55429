"""Upload of files to the artifact location of a run, without a server."""

from __future__ import annotations

import asyncio
import os
import posixpath
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from headrace.contract.errors import invalid
from headrace.contract.file_names import from_native
from headrace.contract.paths import climbs
from headrace.contract.texts import refuse_unstorable
from headrace.settings.table import Settings
from headrace.storage.base import READ_BYTES
from headrace.storage.locations import PROXIED, Locations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from headrace.storage.base import Store

DESTINATION: Final = "MLFLOW_ARTIFACTS_DESTINATION"


class Upload(NamedTuple):
    """A file, and its path below the run's artifact location."""

    file: Path
    path: str


def of_file(file: str | os.PathLike[str], directory: str | None) -> list[Upload]:
    """Return the upload of one file. Raises INVALID_PARAMETER_VALUE."""
    source = Path(file)
    if not source.is_file():
        raise invalid(f"'{source}' is not a file.")
    return [Upload(source, posixpath.join(_checked(directory), from_native(source.name)))]


def of_directory(root: str | os.PathLike[str], directory: str | None) -> Iterator[Upload]:
    """Yield the uploads of all files below a directory. Raises INVALID_PARAMETER_VALUE."""
    source = Path(root)
    if not source.is_dir():
        raise invalid(f"'{source}' is not a directory.")
    target = _checked(directory)
    return (
        Upload(file, posixpath.join(target, from_native(file.relative_to(source).as_posix())))
        for parent, _, names in os.walk(source)
        for file in (Path(parent) / name for name in sorted(names))
    )


def _checked(directory: str | None) -> str:
    if directory is None or directory == "":
        return ""
    if not isinstance(directory, str) or directory.startswith("/") or climbs(directory):
        raise invalid(f"Invalid artifact path: {directory!r}")
    refuse_unstorable(directory, "artifact_path")
    return posixpath.normpath(directory)


def upload(location: str, files: Iterator[Upload] | list[Upload]) -> int:
    """Copy files to an artifact location; return their number.

    Raises `ApiError`. Files that were copied before an error stay.
    """
    destination = os.environ.get(DESTINATION)
    if urlsplit(location).scheme in PROXIED and not destination:
        raise invalid(
            f"The artifacts of this run belong to a server ('{location}'). To write them without it, "
            f"set {DESTINATION} to the server's artifact store."
        )
    # A thread of its own: the caller's may run an event loop.
    with ThreadPoolExecutor(1, thread_name_prefix="headrace-artifacts") as thread:
        try:
            return thread.submit(asyncio.run, _upload(location, destination, files)).result()
        except OSError as error:
            raise invalid(f"A file cannot be read: {error}") from error


async def _upload(
    location: str, destination: str | None, files: Iterator[Upload] | list[Upload]
) -> int:
    settings = Settings(artifacts_destination=destination) if destination else Settings()
    locations = Locations(settings, anywhere=True)
    try:
        count = 0
        for file, path in files:
            where = locations.resolve(location, path)
            await put_file(where.store, where.path, file)
            count += 1
        return count
    finally:
        locations.close()


async def put_file(store: Store, path: str, file: Path) -> None:
    """Write one file to a store."""
    await store.put(path, _chunks(file), file.stat().st_size)


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as opened:
        while chunk := await asyncio.to_thread(opened.read, READ_BYTES):
            yield chunk
