"""MLflow's web page on headrace, in a real browser, with real data. Complaints that the page also has on stock do
not count. `make browser` runs this; screenshots go to HEADRACE_TEST_SCREENSHOTS.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from tests.browser.chromium import CHROMIUM, EXPECTED, SIZE, browser
from tests.fix_server import base_environment, headrace, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

__all__ = ["browser"]  # a fixture
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.timeout(600),
]
WAIT_MS = 90_000  # two busy cores, MLflow being started among others


class Site:
    """A server to look at; `made` has the ids of its data."""

    def __init__(self, url: str, made: dict[str, Any]) -> None:
        self.url = url
        self.made = made

    def path(self, template: str) -> str:
        runs, experiment = self.made["runs"], self.made["experiment"]
        compared = (
            f"runs={quote(json.dumps(runs[:3]))}&experiments={quote(json.dumps([experiment]))}"
        )
        return template.format(e=experiment, run=runs[0], model=self.made["model"], three=compared)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """headrace, and stock on the same database and artifacts."""
    directory = tmp_path_factory.mktemp("site")
    uri = f"sqlite:///{directory}/mlflow.db"
    with ExitStack() as stack:
        ours = stack.enter_context(headrace(uri, directory))
        script = Path(__file__).with_name("data.py")
        filled = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), ours.url],
            env=base_environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert filled.returncode == 0, filled.stderr
        made = json.loads(filled.stdout.splitlines()[-1])
        theirs = stack.enter_context(stock(uri, directory))
        yield Site(ours.url, made), Site(theirs.url, made)


def visit(
    browser: Browser, site: Site, template: str, look: Callable[[Page], None], name: str = ""
) -> set[str]:
    """Open a page and check it; returns the browser's complaints, without ids and ports."""
    complaints: list[str] = []
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
    page.on("requestfailed", lambda r: complaints.append(f"failed: {r.method} {r.url} {r.failure}"))
    page.on(
        "response",
        lambda r: (
            complaints.append(f"{r.status}: {r.request.method} {r.url}")
            if r.status >= 400
            else None
        ),
    )
    try:
        page.goto(f"{site.url}/{site.path(template)}")
        look(page)
    finally:
        folder = os.environ.get("HEADRACE_TEST_SCREENSHOTS")
        if folder and name:
            page.wait_for_timeout(1500)
            page.screenshot(path=f"{folder}/{name}.png")
        context.close()
    return {re.sub(r"\?.*", "", c.replace(site.url, "")) for c in complaints if not aborted(c)}


def aborted(complaint: str) -> bool:
    """Requests that the page cancelled because the test left it."""
    return complaint.startswith("failed: ") and complaint.endswith("net::ERR_ABORTED")


def sees(*texts: str) -> Callable[[Page], None]:
    """All of these are visible somewhere."""

    def look(page: Page) -> None:
        for text in texts:
            page.get_by_text(text).first.wait_for()

    return look


def charts(number: int) -> Callable[[Page], None]:
    """At least so many line charts are drawn."""

    def look(page: Page) -> None:
        page.wait_for_function(
            "n => document.querySelectorAll('.js-plotly-plot .scatterlayer .js-line').length >= n",
            arg=number,
        )

    return look


def image(page: Page) -> None:
    page.wait_for_function(
        "() => [...document.images].some(i => i.naturalWidth === 200 && i.naturalHeight === 120)"
    )


def opened_trace(page: Page) -> None:
    """The trace that the client logged through the bridge, and the span inside it."""
    page.get_by_text("Got it").click()
    page.get_by_text("what is it?").first.click()
    page.get_by_text("look", exact=True).first.wait_for()
    page.get_by_text("a cat").first.wait_for()


def filtered(page: Page) -> None:
    page.get_by_text("20 matching runs").wait_for()
    box = page.get_by_placeholder("metrics.rmse")
    box.fill('metrics.accuracy > 0.95 and params.optimizer = "adam"')
    box.press("Enter")
    page.get_by_text("4 matching runs").wait_for()
    page.get_by_text("run-07").first.wait_for()
    assert page.get_by_text("run-08").count() == 0


def sorted_by_accuracy(page: Page) -> None:
    """The best is first, which is the oldest; unsorted, the youngest would be first."""
    page.get_by_text("20 matching runs").wait_for()
    page.wait_for_function(
        """() => {
            const top = text => Math.min(...[...document.querySelectorAll("a")]
                .filter(a => a.innerText.trim() === text)
                .map(a => a.getBoundingClientRect().top));
            const names = [...Array(20).keys()].map(n => "run-" + String(n).padStart(2, "0"));
            return names.every((name, n) => n === 0 || top(names[n - 1]) < top(name));
        }"""
    )


PAGES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "home": ("#/", sees("Recent Experiments", "image classifier")),
    "experiments": ("#/experiments", sees("image classifier", "Default")),
    "runs": ("#/experiments/{e}/runs", sees("20 matching runs", "run-19", "run-00")),
    "runs-filtered": ("#/experiments/{e}/runs", filtered),
    "runs-sorted": (
        "#/experiments/{e}/runs?orderByKey=metrics.%60accuracy%60&orderByAsc=false",
        sorted_by_accuracy,
    ),
    "runs-charts": ("#/experiments/{e}/runs?compareRunsMode=CHART", charts(2)),
    "run": ("#/experiments/{e}/runs/{run}", sees("Finished", "classifier", "accuracy")),
    "run-charts": ("#/experiments/{e}/runs/{run}/model-metrics", charts(2)),
    "run-image": ("#/experiments/{e}/runs/{run}/artifacts/report/gradient.png", image),
    "run-text": (
        "#/experiments/{e}/runs/{run}/artifacts/report/notes.txt",
        sees("the learning rate was halved"),
    ),
    "compare": (
        "#/compare-runs?{three}",
        sees("Comparing 3 Runs from 1 Experiment", "run-00", "run-01", "run-02"),
    ),
    "models": ("#/models", sees("Registered Models", "classifier")),
    "model": ("#/models/classifier", sees("Version 2", "champion", "vision")),
    "version": ("#/models/classifier/versions/1", sees("Version 1", "run-00", "Inputs (1)")),
    "logged-models": ("#/experiments/{e}/models", sees("resnet", "Ready")),
    "logged-model": ("#/experiments/{e}/models/{model}", sees("resnet", "val_accuracy", "0.91")),
    "prompts": ("#/prompts", sees("greeting")),
    "prompt": ("#/prompts/greeting", sees("Viewing version 2", "warmly in")),
    "webhooks": ("#/settings/webhooks", sees("Webhooks", "deploys", "https://8.8.8.8/x")),
    "traces": ("#/experiments/{e}/traces", sees("what is it?")),
    "trace": ("#/experiments/{e}/traces", opened_trace),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_its_data_and_complains_of_nothing_new(
    browser: Browser, sites: tuple[Site, Site], name: str
) -> None:
    ours, theirs = sites
    template, look = PAGES[name]
    complaints = visit(browser, ours, template, look, name) - EXPECTED
    if complaints:
        assert complaints <= visit(browser, theirs, template, look)
