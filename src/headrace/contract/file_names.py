"""Names of files are bytes: UTF-8, whatever the locale of this process says.

Python decodes names with the locale's encoding. Under `LC_ALL=C` without UTF-8 mode that is ASCII, and a name such as
`ü.txt` can be neither opened nor written. Text of ours (URLs, rows, settings) is always UTF-8.
"""

from __future__ import annotations

import os


def native(name: str) -> str:
    """A name in our text as Python's file functions take it in this process."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def from_native(name: str) -> str:
    """A name, argument or variable as Python gives it, as our text; bytes that are no UTF-8 stay surrogates."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")
