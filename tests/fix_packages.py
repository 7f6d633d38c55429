"""An environment for child processes in which some installed packages are not there."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

SITE_CUSTOMIZE = """
import sys
sys.path[:] = [{farm!r} if entry == {site!r} else entry for entry in sys.path]
"""


def environment_without(directory: Path, *prefixes: str) -> dict[str, str]:
    """Variables under which no package whose file name begins with one of `prefixes` is found.

    The child sees a copy of this environment's site-packages made of links, some of them left out.
    """
    site = Path(sysconfig.get_paths()["purelib"])
    farm = directory / "packages"
    hook = directory / "hook"
    farm.mkdir(parents=True)
    hook.mkdir()
    for entry in site.iterdir():
        if not entry.name.lower().startswith(prefixes):
            (farm / entry.name).symlink_to(entry)
    (hook / "sitecustomize.py").write_text(SITE_CUSTOMIZE.format(farm=str(farm), site=str(site)))
    source = Path(__file__).resolve().parent.parent / "src"
    return {"PYTHONPATH": os.pathsep.join([str(hook), str(source)])}
