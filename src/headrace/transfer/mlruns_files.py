"""The files of MLflow's file store: mappings in YAML, and directories with a file for each key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.file_names import from_native
from headrace.extras import own_install_command
from headrace.transfer.records import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

META: Final = "meta.yaml"


def keys(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files below a directory and the keys that their paths are."""
    for parent, directories, names in os.walk(root):
        directories.sort()
        for name in sorted(names):
            file = Path(parent) / name
            if file.is_symlink():  # a source could name any file of this machine
                raise unreadable(file, "it is a symbolic link")
            yield file, from_native(file.relative_to(root).as_posix())


def texts(root: Path) -> dict[str, str]:
    """Return the contents of the files below a directory, by key."""
    return {key: file.read_text(encoding="utf-8", errors="replace") for file, key in keys(root)}


def read_yaml(file: Path) -> dict[str, Any]:
    """Return the mapping in a file. Raises INVALID_PARAMETER_VALUE, OSError."""
    try:
        import yaml
    except ImportError as error:
        raise unreadable(
            file, f"PyYAML is not installed. To add it: {own_install_command('import')}"
        ) from error
    try:
        with file.open(encoding="utf-8") as opened:
            found = yaml.load(opened, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise unreadable(file, error) from error
    if not isinstance(found, dict):
        raise unreadable(file, "it is empty" if found is None else "it is not a mapping")
    return found
