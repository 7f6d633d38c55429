"""An environment without a private name that headrace uses gets MLflow's own store and one warning."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from tests.plugin.conftest import output

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


def test_every_name_exists_in_the_supported_release(
    script: Callable[..., subprocess.Popen[str]],
) -> None:
    text = """
import warnings
warnings.simplefilter("ignore")
from headrace.plugin import private_names
print({kind: private_names.are_known(kind) for kind in private_names.NAMES})
"""
    found = ast.literal_eval(output(script(text)))
    assert found == {"server": True, "database": True, "traces": True, "registry": True}


@pytest.mark.parametrize(
    ("kind", "module", "owner", "name", "uri", "own"),
    [
        ("server", "urllib3", "HTTPConnectionPool", "_put_conn", "http://127.0.0.1:9", "RestStore"),
        ("traces", "mlflow.entities.span", "", "LazySpan", "sqlite:///x.db", "TrackingStore"),
    ],
)
def test_a_missing_name_leads_to_mlflows_store(
    script: Callable[..., subprocess.Popen[str]],
    kind: str,
    module: str,
    owner: str,
    name: str,
    uri: str,
    own: str,
) -> None:
    text = f"""
import importlib, warnings
warnings.simplefilter("ignore")
import mlflow
import mlflow.store.tracking.sqlalchemy_store  # it needs the name itself
owner = importlib.import_module({module!r})
owner = getattr(owner, {owner!r}) if {owner!r} else owner
delattr(owner, {name!r})
import headrace
headrace.enable()
for n in range(2):
    store = mlflow.MlflowClient({uri!r})._tracking_client.store
    mlflow.tracking._tracking_service.utils._tracking_store_registry._get_store_with_resolved_uri.cache_clear()
print(type(store).__name__)
"""
    process = script(text, headrace="0")
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out.strip()) == (0, own), err[-3000:]
    (warning,) = [line for line in err.splitlines() if "MLflow's own store" in line]
    assert name in warning
