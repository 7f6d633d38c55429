"""A copy of the source, as a fresh clone has it, and an environment to install from it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from tests.fix_server import ROOT, base_environment

if TYPE_CHECKING:
    from pathlib import Path

# The files that an installation reads.
COPIED: Final = (
    "CHANGELOG.md",
    "LICENSE",
    "MANIFEST.in",
    "Makefile",
    "README.md",
    "docs",
    "pyproject.toml",
    "scripts",
    "src",
)
LEFT_OUT: Final = ("__pycache__", "*.egg-info")


def copy_source(directory: Path) -> Path:
    """Copy the files that an installation reads; return the directory."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        elif source.exists():
            shutil.copy(source, directory)
    return directory


def checkout_environment() -> dict[str, str]:
    """The environment without the tests' own source on Python's path."""
    environment = base_environment()
    del environment["PYTHONPATH"]
    return environment
