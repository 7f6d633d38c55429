"""Load times of MLflow's web page on headrace and on stock: `python -m benchmarks.page`.

The same browser and the same SQLite database (1,000 runs with 20 metrics), one server
at a time, and an empty browser cache each time. Needs Chromium and the package playwright. Stock
runs with one worker and without its job runners, which would only compete for the cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

RUNS = 1000
METRICS = 20
START_TIMEOUT_S = 120
WAIT_MS = 120_000
VIEWS = {
    "experiments, first load": ("#/experiments", "text=page load"),
    "run table": ("#/experiments/{e}/runs", "text=run-999"),
    "run page": ("#/experiments/{e}/runs/{run}", "text=Metrics (20)"),
}


def command(server: str, uri: str, port: int) -> list[str]:
    """Return the command that starts a server."""
    where = ["--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", uri]
    if server == "headrace":
        return [sys.executable, "-m", "headrace", "server", *where]
    return [sys.executable, "-m", "mlflow", "server", "--workers", "1", *where]


@contextlib.contextmanager
def serving(server: str, directory: Path) -> Iterator[str]:
    """Run a server on the database in a directory, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"}
    with (directory / f"{server}.log").open("wb") as log:
        process = subprocess.Popen(
            command(server, f"sqlite:///{directory}/mlflow.db", port),
            cwd=directory,
            env={**os.environ, **quiet},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the server answers."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        time.sleep(0.1)
    raise SystemExit(f"{url} did not start")


def call(url: str, path: str, **body: Any) -> Any:
    """Send a POST to the REST API."""
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/{path}",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def fill(url: str) -> dict[str, str]:
    """Create the experiment and its runs."""
    experiment = call(url, "experiments/create", name="page load")["experiment_id"]
    run = ""
    for number in range(RUNS):
        created = call(
            url,
            "runs/create",
            experiment_id=experiment,
            run_name=f"run-{number}",
            start_time=1_700_000_000_000 + number,
        )
        run = created["run"]["info"]["run_id"]
        metrics = [
            {"key": f"metric_{n}", "value": number / (n + 1), "timestamp": number, "step": 0}
            for n in range(METRICS)
        ]
        params = [{"key": f"param_{n}", "value": str(number % (n + 2))} for n in range(10)]
        call(url, "runs/log-batch", run_id=run, metrics=metrics, params=params)
        call(url, "runs/update", run_id=run, status="FINISHED", end_time=number)
    return {"e": experiment, "run": run}


def visit(browser: Browser, url: str, wanted: str) -> tuple[float, int]:
    """Return the seconds until a text is visible, and the bytes received over the network."""
    context = browser.new_context(viewport={"width": 1500, "height": 950})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    received: list[int] = []
    session.on("Network.loadingFinished", lambda e: received.append(int(e["encodedDataLength"])))
    began = time.perf_counter()
    page.goto(url)
    page.locator(wanted).first.wait_for()
    took = time.perf_counter() - began
    context.close()
    return took, sum(received)


def measure(rounds: int) -> dict[tuple[str, str], list[tuple[float, int]]]:
    """Return all visits, by view and server; the servers alternate."""
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        directory = Path(name)
        with serving("headrace", directory) as url:
            made = fill(url)
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(rounds):
            for server in ("stock", "headrace"):
                with serving(server, directory) as url:
                    for view, (path, wanted) in VIEWS.items():
                        one = visit(browser, f"{url}/{path.format(**made)}", wanted)
                        found.setdefault((view, server), []).append(one)
        browser.close()
    return found


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    found = measure(parser.parse_args().rounds)
    rows = [
        "| view | stock | headrace | over the network, stock | headrace |",
        "|---|---|---|---|---|",
    ]
    for view in VIEWS:
        times = {s: statistics.median(t for t, _ in found[view, s]) for s in ("stock", "headrace")}
        sizes = {s: statistics.median(b for _, b in found[view, s]) for s in ("stock", "headrace")}
        rows.append(
            f"| {view} | {times['stock']:.2f} s | {times['headrace']:.2f} s "
            f"| {sizes['stock'] / 1e6:.1f} MB | {sizes['headrace'] / 1e6:.1f} MB |"
        )
    print("\n".join(rows))  # noqa: T201


if __name__ == "__main__":
    main()
