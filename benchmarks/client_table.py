"""The mlflow client with headrace disabled and enabled, on databases and servers.

Run it with `python -m benchmarks python-api`. Every cell is logBatch.py in this environment, in
processes that pyperf starts; pyperf's files are kept, and the tables are those of
`pyperf compare_to`. The cells run one after another; nothing else should run on the machine.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import machine
from benchmarks.load import SCRIPTS
from benchmarks.python_api import INHERITED, SWITCH
from benchmarks.runner import database_server
from benchmarks.seeds import Seed
from benchmarks.servers import BY_NAME, RunningServer, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.databases import Databases

OF_THE_HOST: Final = ("hostname", "boot_time", "python_executable", "python_config_args")
CALL_TIMEOUT_S: Final = 600
SILENT: Final = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@dataclass(frozen=True)
class Operation:
    """`loops` calls give one value: several ms at least with headrace, 2 s at most without."""

    arguments: tuple[str, ...]
    loops: int


def _batch(tags: int, params: int, metrics: int, loops: int) -> Operation:
    sizes = {"tags": tags, "params": params, "metrics": metrics}
    return Operation(tuple(f"--{name}={size}" for name, size in sizes.items()), loops)


OPERATIONS: Final = (
    Operation(("--operation=log_metric",), 50),
    _batch(0, 0, 10, 30),
    _batch(50, 50, 300, 6),
    _batch(100, 100, 800, 4),
    Operation(("--operation=search_runs",), 1),
)


def _stock(uri: str, port: int, work: Path) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, *address]


# The client's own version of mlflow. One worker is enough for one client.
STOCK: Final = Server(
    "mlflow-here",
    "MLflow server",
    _stock,
    {**SILENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
)


@dataclass(frozen=True)
class Cell:
    """One column of a table; the others are compared with the first."""

    name: str
    plugin: bool
    server: Server | None = None


DIRECT: Final = (Cell("MLflow", False), Cell("headrace", True))
SERVED: Final = (
    Cell("MLflow server, MLflow client", False, STOCK),
    Cell("MLflow server, headrace client", True, STOCK),
    Cell("headrace server, MLflow client", False, BY_NAME["headrace"]),
    Cell("headrace server, headrace client", True, BY_NAME["headrace"]),
)
TEMPLATE: Final = "client_template"


class Measurement:
    """Runs the cells; `processes`, `values` and `warmups` are pyperf's, per operation and cell."""

    def __init__(
        self, work: Path, folder: Path, counts: tuple[int, int, int], tell: Callable[[str], None]
    ) -> None:
        self._work = work
        self._folder = folder
        self._counts = counts
        self._tell = tell

    def template(self, databases: Databases) -> None:
        """Create a database with MLflow's tables and the runs for searches."""
        self._tell(f"{databases.kind}: MLflow creates its tables")
        uri = databases.create(TEMPLATE)
        code = f"from mlflow import MlflowClient; MlflowClient({uri!r}).search_experiments()"
        environment = os.environ | SILENT | {SWITCH: "0"}
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)
        databases.seed(uri, frozenset({Seed.SMALL_RUNS}), fasttrackml=False)

    def table(self, databases: Databases, title: str, cells: tuple[Cell, ...]) -> Iterator[str]:
        """Measure the cells, compare them with the first, and return a section of the page."""
        files = []
        for cell in cells:
            name = f"{title}: {cell.name}"
            file = self._folder / f"{name.lower().replace(': ', '-').replace(', ', '-')}.json"
            file = file.with_name(file.name.replace(" ", "-"))
            file.unlink(missing_ok=True)
            uri = databases.create("client_cell", TEMPLATE)
            with ExitStack() as stack:
                if cell.server is not None:
                    self._tell(f"{name}: starts")
                    running = RunningServer(cell.server, uri, self._work)
                    stack.callback(running.stop)
                    uri = running.uri
                for operation in OPERATIONS:
                    self._tell(f"{name}: {' '.join(operation.arguments)}")
                    self._measure(uri, cell.plugin, operation, file)
            databases.drop("client_cell")
            _leave_out_the_host(file)
            files.append(file)
        yield f"## {title}\n"
        yield self._compared(files, cells)

    def _measure(self, uri: str, plugin: bool, operation: Operation, file: Path) -> None:
        processes, values, warmups = self._counts
        environment = os.environ | SILENT | {"MLFLOW_TRACKING_URI": uri, SWITCH: str(int(plugin))}
        command = [sys.executable, "-W", "ignore", "logBatch.py", *operation.arguments]
        command += ["--inherit-environ", INHERITED, "--quiet", "--append", os.fspath(file)]
        command += ["--processes", str(processes), "--values", str(values)]
        command += ["--warmups", str(warmups), "--loops", str(operation.loops)]
        subprocess.run(
            command,
            cwd=SCRIPTS,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=CALL_TIMEOUT_S,
        )

    def _compared(self, files: list[Path], cells: tuple[Cell, ...]) -> str:
        command = [sys.executable, "-m", "pyperf", "compare_to", "--table", "--table-format=md"]
        names = [file.name for file in files]
        done = subprocess.run(
            [*command, *names], cwd=self._folder, capture_output=True, text=True, check=True
        )
        text = done.stdout
        for file, cell in zip(files, cells, strict=True):
            text = text.replace(file.stem, cell.name)
        return text


def _leave_out_the_host(file: Path) -> None:
    """Remove the host name and the paths of this machine from a file of pyperf."""
    suite = json.loads(file.read_text())
    for name in OF_THE_HOST:
        suite["metadata"].pop(name, None)
    file.write_text(json.dumps(suite, separators=(",", ":")) + "\n")


def _about(command: str, databases: list[str], counts: tuple[int, int, int]) -> str:
    now = datetime.datetime.now(datetime.UTC)
    of_machine = ", ".join(machine.describe().values())
    names = ("mlflow", "sqlalchemy", "psycopg2-binary", "psycopg", "asyncpg", "msgspec", "pyperf")
    packages = [f"{name} {machine.version(name)}" for name in names]
    versions = [
        f"headrace {machine.revision()}",
        f"Python {sys.version.split()[0]}",
        *packages,
        *databases,
    ]
    processes, values, warmups = counts
    return f"""# The mlflow client with headrace disabled and enabled

Measured {now:%Y-%m-%d %H:%M} UTC on {of_machine}.

With {"; ".join(versions)}.

    {command}

Each figure is the mean of {processes} processes with {values} values each, after {warmups}
discarded; a value is the mean of several consecutive calls. MLflow created the tables; one client,
nothing else on the machine. Servers use PostgreSQL and one worker. `python -m pyperf stats FILE`
shows the details of a file.
"""


def run(
    command: str, folder: Path, counts: tuple[int, int, int], tell: Callable[[str], None]
) -> str:
    """Measure everything, write the page to `folder` beside pyperf's files, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    sections: list[str] = []
    versions: list[str] = []
    with tempfile.TemporaryDirectory(prefix="headrace-client-") as temporary:
        work = Path(temporary)
        measurement = Measurement(work, folder, counts, tell)
        for kind, title in (("sqlite", "SQLite"), ("postgresql", "PostgreSQL")):
            with database_server(kind, work, None) as databases:
                versions.append(databases.version)
                measurement.template(databases)
                sections += measurement.table(databases, title, DIRECT)
                if kind == "postgresql":
                    sections += measurement.table(databases, "Server", SERVED)
                databases.drop(TEMPLATE)
    text = "\n".join([_about(command, versions, counts), *sections])
    (folder / "README.md").write_text(text)
    return text
