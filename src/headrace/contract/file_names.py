"""File names in UTF-8, independent of the locale of the process.

Python decodes file names with the locale's encoding. Under `LC_ALL=C` without UTF-8 mode that is ASCII, so a
name such as `ü.txt` cannot be opened or created. Names in URLs, rows and settings are always UTF-8.
"""

from __future__ import annotations

import os


def native(name: str) -> str:
    """Convert a UTF-8 name to the form that Python's file functions expect in this process."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def from_native(name: str) -> str:
    """Convert a file name, argument or variable of Python to UTF-8; invalid bytes become surrogates."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")
