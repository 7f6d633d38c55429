"""The routes of an installed MLflow, in the words of headrace's table (bridge/routes.py)."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

from tests.fix_server import base_environment

if TYPE_CHECKING:
    from pathlib import Path

# Read in a separate process: the import takes seconds and changes warnings and environment.
READ_URL_MAP = """
import json, os, sys
os.environ["_MLFLOW_SERVER_FILE_STORE"] = sys.argv[1]
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app
found = [
    (method, rule.rule)
    for rule in flask_app.url_map.iter_rules()
    for method in rule.methods - {"HEAD", "OPTIONS"}
]
for part in app.routes:
    routes = part.original_router.routes if hasattr(part, "original_router") else [part]
    prefix = part.include_context.prefix if hasattr(part, "original_router") else ""
    for route in routes:
        methods = getattr(route, "methods", None) or ()
        found += [(method, prefix + route.path) for method in methods if method != "HEAD"]
print(json.dumps(found))
"""


def url_map(python: str, directory: Path) -> set[tuple[str, str]]:
    """Method and path of each route of the MLflow of a Python. `directory` gets a database."""
    command = [python, "-W", "ignore", "-c", READ_URL_MAP, f"sqlite:///{directory}/m.db"]
    printed = subprocess.run(
        command, env=base_environment(), capture_output=True, check=True, timeout=100
    ).stdout
    found = json.loads(printed.splitlines()[-1])
    braced = re.compile(r"<(?:(path):)?(\w+)>")
    return {
        (method, braced.sub(lambda m: f"{{{m[2]}{':path' if m[1] else ''}}}", path))
        for method, path in found
    }
