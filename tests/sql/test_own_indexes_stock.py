"""Stock MLflow migrates and serves databases with headrace's indexes, in releases 3.17 and 3.18."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.fix_clients import mlflow3, mlflow318
from tests.fix_server import STOCK_ENVIRONMENT, base_environment, stock_uri
from tests.sql.catalog import differences
from tests.sql.dumps import restore_postgres, restore_sqlite
from tests.sql.test_own_indexes import RELEASE, catalog, names, path_of, valid

from headrace.db.upkeep.schema import upgrade
from headrace.db.upkeep.tune import release, tune

if TYPE_CHECKING:
    from tests.fix_clients import Client

LIMIT_S = 240
STOCK = {"3.17": mlflow3, "3.18": mlflow318}
# Each has tables that the one before lacks: logged models, workspaces.
# The oldest one runs every migration; the others are for `make soak`.
OLD = ("2.9.2", *(pytest.param(name, marks=pytest.mark.soak) for name in ("3.4.0", "3.10.1")))
pytestmark = pytest.mark.timeout(400)
# Every part of the tables that have an index of headrace.
_USE = """
import json, mlflow, sys
from mlflow import MlflowClient
from mlflow.cli import cli
cli(["db", "upgrade", sys.argv[1]], standalone_mode=False)
client = MlflowClient()
experiment = client.create_experiment("with indexes")
client.rename_experiment(experiment, "with our indexes")
for n in range(3):
    run = client.create_run(experiment, start_time=n + 1)
    client.log_metric(run.info.run_id, "m", n, step=n)
    client.set_terminated(run.info.run_id)
model = client.create_registered_model("model")
version = client.create_model_version("model", "runs:/x/m", run.info.run_id)
logged = client.create_logged_model(experiment, name="net", source_run_id=run.info.run_id)
client.delete_run(run.info.run_id)
client.restore_run(run.info.run_id)
client.delete_experiment(experiment)
client.restore_experiment(experiment)
print(json.dumps([
    client.get_experiment_by_name("with our indexes").name,
    [found.info.start_time for found in client.search_runs([experiment])],
    [found.name for found in client.search_experiments()],
    [found.name for found in client.search_registered_models(order_by=["timestamp DESC"])],
    [found.version for found in client.search_model_versions(f"run_id = '{run.info.run_id}'")],
    [found.name for found in client.search_logged_models([experiment])],
]))
"""


@pytest.fixture(params=["3.17", pytest.param("3.18", marks=pytest.mark.soak)])
def mlflow(request: pytest.FixtureRequest) -> Client:
    """Each release of stock MLflow in turn."""
    return STOCK[request.param]()


def run(mlflow: Client, *arguments: str, uri: str) -> str:
    """Run the Python of a release; its output."""
    environment = base_environment() | STOCK_ENVIRONMENT
    del environment["PYTHONPATH"]
    done = subprocess.run(
        [mlflow.python, "-W", "ignore", *arguments],
        env=environment | {"MLFLOW_TRACKING_URI": stock_uri(uri), "GIT_PYTHON_REFRESH": "quiet"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def migrate(mlflow: Client, uri: str) -> None:
    """`mlflow db upgrade`."""
    run(mlflow, "-m", "mlflow", "db", "upgrade", stock_uri(uri), uri=uri)


def restore(uri: str, name: str) -> None:
    """Fill an empty database as that release leaves a new one."""
    if uri.startswith("sqlite"):
        restore_sqlite(name, path_of(uri))
    else:
        restore_postgres(name, uri)


def own_text(uri: str) -> list[str]:
    """The definitions of headrace's indexes."""
    found = catalog(uri)
    listed = found["objects"] if uri.startswith("sqlite") else found["indexes"]
    return sorted(str(item) for item in listed if "headrace_" in str(item))


def test_stock_works_with_the_indexes(mlflow: Client, empty_uri: str) -> None:
    """It migrates, finds everything, and leaves the indexes as they were. 3.18 has a newer schema."""
    restore(empty_uri, RELEASE)
    tune(empty_uri)
    before = own_text(empty_uri)
    assert len(before) == len(names(empty_uri))
    printed = run(mlflow, "-c", _USE, stock_uri(empty_uri), uri=empty_uri)
    found = json.loads(printed.splitlines()[-1])
    listed = ["with our indexes", "Default"]
    assert found == ["with our indexes", [3, 2, 1], listed, ["model"], [1], ["net"]]
    assert own_text(empty_uri) == before


@pytest.mark.parametrize("name", OLD)
def test_stock_migrates_old_databases_with_the_indexes(name: str, empty_uri: str) -> None:
    """The result is the schema of a new database; indexes that a migration changed are made again."""
    restore(empty_uri, name)
    made = [line for line in tune(empty_uri) if line.startswith("made: ")]
    assert made and len(made) == len(valid(empty_uri))
    migrate(mlflow3(), empty_uri)
    tune(empty_uri)
    assert valid(empty_uri) == sorted(names(empty_uri))
    after = catalog(empty_uri)
    release(empty_uri)
    assert [one for one in differences(after, catalog(empty_uri)) if "headrace_" not in one] == []


@pytest.mark.parametrize("name", OLD[:1])
def test_an_upgrade_by_headrace_keeps_the_indexes(name: str, empty_uri: str) -> None:
    restore(empty_uri, name)
    tune(empty_uri)
    before = valid(empty_uri)
    assert upgrade(empty_uri).current
    assert valid(empty_uri) == before
