"""The kind of file system that contains a directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# On these, reading cached bytes never waits for another machine.
LOCAL: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "tmpfs", "overlay", "zfs"}
)


def is_local(directory: str) -> bool:
    """Whether a directory is on a disk or in the memory of this machine; False when unknown."""
    try:
        mounts = os.fsdecode(Path("/proc/self/mounts").read_bytes())
    except OSError:
        return False
    target = Path(directory).resolve()
    longest, kind = -1, ""
    for line in mounts.splitlines():
        point, found = line.split(" ")[1:3]
        point = point.replace("\\040", " ")
        if len(point) >= longest and target.is_relative_to(point):
            longest, kind = len(point), found
    return kind in LOCAL
