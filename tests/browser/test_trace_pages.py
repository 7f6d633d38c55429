"""The pages of traces in a real browser: no request of theirs is left to MLflow behind the bridge.

`make browser` runs this; screenshots go to HEADRACE_TEST_SCREENSHOTS.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.browser.chromium import CHROMIUM, EXPECTED, SIZE, browser
from tests.fix_clients import mlflow3
from tests.fix_server import headrace
from tests.prometheus import samples
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page
    from tests.fix_server import Server

__all__ = ["browser"]  # a fixture
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.timeout(600),
]
WAIT_MS = 90_000  # two busy cores
# The address of each page, a request that it sends, and a text that it shows then.
PAGES = {
    "overview": ("experiments/{e}", "traces/metrics", ""),
    "traces": ("experiments/{e}/traces", "traces/search", "question 3"),
    "one trace": (
        "experiments/{e}/traces?selectedEvaluationId={trace}",
        "get-trace-artifact",
        "look_up",
    ),
    "sessions": ("experiments/{e}/chat-sessions", "runs/search", "moved to the Traces tab"),
    "one session": ("experiments/{e}/chat-sessions/s1", "traces/search", "question 3"),
    "evaluation runs": ("experiments/{e}/evaluation-runs", "runs/search", ""),
    "an evaluation run": (
        "experiments/{e}/evaluation-runs?selectedRunUuid={evaluation}",
        "runs/search",
        "is_short",
    ),
    "traces of a run": ("experiments/{e}/runs/{run}/traces", "traces/search", "in a run"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A server with traces of a real client, and their ids."""
    directory = tmp_path_factory.mktemp("site")
    with headrace(f"sqlite:///{directory}/mlflow.db", directory) as server:
        made = mlflow3().run("traces.py", "traces", uri=server.url, directory=directory)
        yield server, made


@pytest.mark.parametrize("name", PAGES)
def test_no_request_of_a_page_of_traces_needs_the_bridge(
    browser: Browser, site: tuple[Server, dict[str, Any]], name: str, tmp_path: Path
) -> None:
    server, made = site
    template, request, text = PAGES[name]
    path = template.format(
        e=made["experiment_id"],
        trace=made["trace_ids"][0],
        run=made["run_id"],
        evaluation=made["evaluation"],
    )
    before = bridged(server)
    failed: list[str] = []
    asked: list[str] = []
    context = browser.new_context(viewport=SIZE)
    page: Page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.on("request", lambda r: asked.append(f"{r.method} {r.url.removeprefix(server.url)}"))
    page.on(
        "response",
        lambda r: (
            failed.append(f"{r.status}: {r.request.method} {r.url.removeprefix(server.url)}")
            if r.status >= 400
            else None
        ),
    )
    with page.expect_response(lambda r: request in r.url):
        page.goto(f"{server.url}/#/{path}")
    if text:
        page.get_by_text(text).first.wait_for(state="attached")
    if folder := os.environ.get("HEADRACE_TEST_SCREENSHOTS"):
        page.wait_for_timeout(1500)
        page.screenshot(path=f"{folder}/traces, {name}.png")
    context.close()
    assert bridged(server) == before, [one for one in asked if "/api/" in one or "/ajax-" in one]
    assert set(failed) <= EXPECTED


def bridged(server: Server) -> float:
    """The number of requests that were left to MLflow."""
    with Wire(server.url) as wire:
        found = samples(wire)
    return sum(
        value
        for (name, labels), value in found.items()
        if name == "headrace_requests_total" and dict(labels)["route"].startswith("(bridged)")
    )
