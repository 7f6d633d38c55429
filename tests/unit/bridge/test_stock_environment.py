"""The environment of the MLflow process: the same database, of which it reads the primary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.bridge.stock import environment
from headrace.settings.load import load

if TYPE_CHECKING:
    import pytest

REPLICA = "postgresql://me@b/ml"


def test_mlflow_writes_to_the_primary_and_reads_no_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several hosts, SQLAlchemy reads those in the query; MLflow would read a replica whatever its lag."""
    for name in (
        "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
        "_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE",
    ):
        monkeypatch.setenv(name, REPLICA)
    monkeypatch.delenv("PGTARGETSESSIONATTRS", raising=False)
    flags = {"backend_store_uri": "postgresql+psycopg2://me@a,b:7/ml"}
    settings = load({**flags, "read_replica_backend_store_uri": REPLICA}, {})
    found = environment(settings, "secret", with_jobs=False)
    wanted = "postgresql+psycopg2://me@/ml?host=a%2Cb&port=5432%2C7&target_session_attrs=read-write"
    assert found["MLFLOW_BACKEND_STORE_URI"] == found["_MLFLOW_SERVER_REGISTRY_STORE"] == wanted
    assert found["MLFLOW_TRACKING_URI"] == wanted
    assert not [name for name in found if "REPLICA" in name]
