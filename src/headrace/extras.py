"""The optional packages, and commands that install them.

The commands name the packages themselves instead of an extra of headrace: that works for every
installation, also for one from a checkout, a wheel or an image.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

# Equal to the extras in pyproject.toml; reading the metadata of the installation takes 20 ms.
EXTRAS: Final = {
    "gateway": ("cryptography>=42",),
    "mlflow": ("mlflow>=3.17.2,<3.19", "psycopg[binary]>=3.2"),
    "import": ("pyyaml>=6",),
    "oidc": ("authlib>=1.9", "httpx2>=2.0", "joserfc>=1.8"),
    "parquet": ("pyarrow>=15",),
    "webhooks": ("cryptography>=42",),
}
SERVE_ENVIRONMENT: Final = ".venv-serve"  # of `make serve`, which removes pip
# It installs the extras `mlflow` and `oidc`; the packages of the others are requirements of mlflow.
SERVE_COMMAND: Final = "make serve FULL=1"


def install_command(extra: str) -> str:
    """The command for the environment of the server, without paths: clients may see it."""
    if command := _environments_command(extra):
        return command
    return f"pip install {_quoted(extra)}"


def own_install_command(extra: str) -> str:
    """The command for the environment of this process, ready to be copied from its terminal."""
    if command := _environments_command(extra):
        return command
    pip = f"{sys.executable} -m pip install"
    if find_spec("pip") is None:  # an environment of uv
        pip = f"uv pip install --python {sys.executable}"
    return f"{pip} {_quoted(extra)}"


def _environments_command(extra: str) -> str | None:
    """The command that makes this environment anew, if nothing should be installed into it."""
    environment = Path(sys.prefix)
    if environment.name == SERVE_ENVIRONMENT:
        return SERVE_COMMAND
    # uvx shares the environments in its cache, <cache>/archive-v0/<id>, between commands.
    if environment.parent.name.startswith("archive-v") and "UV" in os.environ:
        return f"uvx --from '.[{extra}]' headrace ..."
    return None


def _quoted(extra: str) -> str:
    return " ".join(f"'{requirement}'" for requirement in EXTRAS[extra])
