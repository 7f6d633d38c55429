"""The files of MLflow's built page on disk, with their metadata.

The mlflow package is located but never imported, which would take seconds and hundreds of
megabytes.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

BUILD: Final = Path("server", "js", "build")  # inside the mlflow package
CONTENT_TYPES: Final = {
    ".cjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".eot": "application/vnd.ms-fontobject",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml; charset=utf-8",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
TEXT: Final = re.compile(r"text/|application/(?:json|wasm|vnd\.ms-fontobject)|image/svg|font/ttf")
MIN_COMPRESSED_BYTES: Final = 1024  # smaller files fit in one network packet anyway
# A name that contains a hash of the content, such as main.c2f5f8d4.js: new content has a new name.
HASHED: Final = re.compile(r"\.[0-9a-f]{8,}\.")


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page, as it was when the server first listed the files."""

    path: Path
    size: int
    modified_s: int
    etag: str
    content_type: str
    hashed: bool

    @property
    def compressible(self) -> bool:
        """Whether compressing the file is worthwhile."""
        return self.size >= MIN_COMPRESSED_BYTES and TEXT.match(self.content_type) is not None


def has_page() -> bool:
    """Whether MLflow's page is installed. mlflow-skinny has none."""
    return any((Path(place) / BUILD / "index.html").exists() for place in _places())


def _places() -> list[str]:
    spec = find_spec("mlflow")
    return list(spec.submodule_search_locations or ()) if spec is not None else []


@cache
def bundle() -> dict[str, File]:
    """Every file of the installed page by its path in the URL; empty if no page is installed.

    A request can name only files that are listed here, so no path can leave the directory.
    """
    files: dict[str, File] = {}
    for place in _places():
        root = Path(place) / BUILD
        for directory, _, names in os.walk(root):
            for name in names:
                path = Path(directory, name)
                files.setdefault(path.relative_to(root).as_posix(), _describe(path))
    return files if "index.html" in files else {}


def _describe(path: Path) -> File:
    stat = path.stat()
    return File(
        path=path,
        size=stat.st_size,
        modified_s=int(stat.st_mtime),
        etag=f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"',
        content_type=CONTENT_TYPES.get(path.suffix, "application/octet-stream"),
        hashed=HASHED.search(path.name) is not None,
    )
