"""An environment for child processes that hides some of the installed packages."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

SITE_CUSTOMIZE = """
import sys
sys.path[:] = [{farm!r} if entry == {site!r} else entry for entry in sys.path]
"""


def environment_without(directory: Path, *prefixes: str) -> dict[str, str]:
    """Variables that hide every package whose file name begins with one of `prefixes`.

    The child uses a directory of links to the other packages in place of site-packages.
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
