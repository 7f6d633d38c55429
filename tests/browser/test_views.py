"""Every view of MLflow's page in a real browser, on a server that cannot start MLflow.

VIEWS is the list. No request of a view may need the bridge, except those in BRIDGED. The page is that of the
installed mlflow, and that of MLflow 3.18 on a database at its schema. `make browser` runs this; screenshots go
to HEADRACE_TEST_SCREENSHOTS.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
from tests.browser.chromium import CHROMIUM, EXPECTED, SIZE, browser
from tests.browser.test_trace_pages import bridged
from tests.fix_clients import beside, mlflow318
from tests.fix_server import base_environment, headrace
from tests.sql.dumps import restore_sqlite
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page
    from tests.fix_server import Server

__all__ = ["browser"]  # a fixture
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.timeout(600),
]
WAIT_MS = 90_000  # two busy cores
STEP_MS, QUIET_MS, LONGEST_MS = 100, 1_000, 20_000
API: Final = "/api/3.0/mlflow/"
API_REQUEST: Final = r"/(ajax-api|graphql|get-artifact|model-versions)"
# The address of each view, and a request that it sends.
VIEWS: Final = {
    "home": ("", "experiments/search"),
    "experiments": ("experiments", "experiments/search"),
    # an experiment of machine learning
    "experiment": ("experiments/{e}", "runs/search"),
    "runs": ("experiments/{e}/runs", "runs/search"),
    "charts of runs": ("experiments/{e}/runs?compareRunsMode=CHART", "runs/search"),
    "run": ("experiments/{e}/runs/{run}", "graphql"),
    "metrics of a run": ("experiments/{e}/runs/{run}/model-metrics", "graphql"),
    "system metrics of a run": ("experiments/{e}/runs/{run}/system-metrics", "graphql"),
    "traces of a run": ("experiments/{e}/runs/{run}/traces", "traces/search"),
    "artifacts of a run": ("experiments/{e}/runs/{run}/artifacts", "artifacts/list"),
    "logged models": ("experiments/{e}/models", "logged-models/search"),
    "logged model": ("experiments/{e}/models/{model}", "logged-models/"),
    "artifacts of a logged model": ("experiments/{e}/models/{model}/artifacts", "artifacts/directories"),
    "traces of a logged model": ("experiments/{e}/models/{model}/traces", "traces/search"),
    "compared runs": ("compare-runs?{compared}", "/ajax-api/"),
    "metric": ("metric?{metric}", "/ajax-api/"),
    "compared experiments": ("compare-experiments/s?experiments={both}", "runs/search"),
    # an experiment of generative AI
    "overview": ("experiments/{g}", "traces/metrics"),
    "usage": ("experiments/{g}/overview/usage", "traces/metrics"),
    "quality": ("experiments/{g}/overview/quality", "traces/metrics"),
    "tool calls": ("experiments/{g}/overview/tool-calls", "traces/metrics"),
    "traces": ("experiments/{g}/traces", "traces/search"),
    "trace": ("experiments/{e}/traces?selectedEvaluationId={trace}", "get-trace-artifact"),
    "sessions": ("experiments/{g}/chat-sessions", ""),
    "session": ("experiments/{g}/chat-sessions/s1", "traces/search"),
    "evaluation runs": ("experiments/{g}/evaluation-runs", "runs/search"),
    "datasets": ("experiments/{g}/datasets", "datasets/search"),
    "dataset": ("experiments/{g}/datasets/{dataset}", "records"),
    "judges": ("experiments/{g}/judges", "scorers/list"),
    "review": ("experiments/{g}/review-queue", "label-schemas/list"),
    "playground": ("experiments/{g}/playground", "gateway/endpoints/list"),
    "prompts of an experiment": ("experiments/{g}/prompts", "registered-models/search"),
    "prompt of an experiment": ("experiments/{g}/prompts/greeting", "model-versions/search"),
    # registry, gateway, settings
    "models": ("models", "registered-models/search"),
    "model": ("models/classifier", "registered-models/get"),
    "version": ("models/classifier/versions/1", "model-versions/get"),
    "prompts": ("prompts", "registered-models/search"),
    "prompt": ("prompts/greeting", "model-versions/search"),
    "gateway": ("gateway", "gateway/endpoints/list"),
    "new endpoint": ("gateway/endpoints/create", "gateway/"),
    "endpoint": ("gateway/endpoints/{endpoint}", "gateway/endpoints/get"),
    "keys": ("gateway/api-keys", "gateway/secrets/list"),
    "budgets": ("gateway/budgets", "gateway/budgets/list"),
    "usage of the gateway": ("gateway/usage", "gateway/endpoints/list"),
    "settings": ("settings", ""),
    "webhooks": ("settings/webhooks", "webhooks"),
    "settings of models": ("settings/llm-connections", "gateway/secrets/list"),
    "MCP servers": ("mcp-registry", "mcp-servers"),
}  # fmt: skip
# The views that need MLflow, and the requests for which they do.
BRIDGED: Final[dict[str, set[str]]] = {
    "MCP servers": {"GET /ajax-api/3.0/mlflow/mcp-servers"},
}
# The answers that no server has for a view: without users, or for a trace without spans.
ABSENT: Final[dict[str, set[str]]] = {
    "usage of the gateway": {"404: GET /ajax-api/2.0/mlflow/users/list"},
    "session": {"404: GET /ajax-api/3.0/mlflow/get-trace-artifact"},
}
# The page of 3.18 asks for a URL of the store before it asks for the file; a directory has none.
UNSIGNED: Final = {"version": {"501: GET /model-versions/get-artifact"}}
KIND: Final = {"key": "mlflow.experimentKind", "value": "genai_development"}


class Site:
    """A server with data, and the parts of addresses that name it."""

    def __init__(self, release: str, server: Server, parts: dict[str, str]) -> None:
        self.release = release
        self.server = server
        self.parts = parts

    def asked(self) -> float:
        """The number of requests that were left to MLflow."""
        return bridged(self.server)


@pytest.fixture(scope="module", params=["installed", "3.18"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A server without a bridge, with the page of a release, and something for every view."""
    directory, release = tmp_path_factory.mktemp("site"), request.param
    uri, environment = f"sqlite:///{directory}/mlflow.db", {"HEADRACE_BRIDGE": "off"}
    if release == "3.18":
        environment |= beside(mlflow318())
        restore_sqlite("3.18.0", directory / "mlflow.db")
    with headrace(uri, directory, environment=environment) as server:
        script = Path(__file__).with_name("data.py")
        filled = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), server.url],
            env=base_environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert filled.returncode == 0, filled.stderr
        with Wire(server.url) as wire:
            yield Site(release, server, parts(wire, json.loads(filled.stdout.splitlines()[-1])))


def parts(wire: Wire, made: dict[str, Any]) -> dict[str, str]:
    """Add an experiment of generative AI and an endpoint; the ids of all."""

    def ask(path: str, **body: Any) -> Any:
        answer = wire.ask(
            "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        assert answer.status == 200, f"{path}: {answer}"
        return answer.json()

    agent = ask("/api/2.0/mlflow/experiments/create", name="agent", tags=[KIND])["experiment_id"]
    info = {
        "trace_id": "tr-" + "7" * 32,
        "trace_location": of(agent),
        "state": "OK",
        "request_preview": "who are you?",
        "trace_metadata": {"mlflow.trace.session": "s1"},
    }
    ask(f"{API}traces", trace={"trace_info": info})
    dataset = ask(f"{API}datasets/create", name="questions", experiment_ids=[agent])["dataset"]
    ask(f"{API}datasets/{dataset['dataset_id']}/records", records='[{"inputs": {"q": "why?"}}]')
    ask(f"{API}label-schemas/create", experiment_id=agent, name="good", type="FEEDBACK",
        input={"pass_fail": {"positive_label": "yes", "negative_label": "no"}})  # fmt: skip
    secret = ask(f"{API}gateway/secrets/create", secret_name="key", secret_value={"api_key": "k"},
                 provider="openai")["secret"]  # fmt: skip
    definition = ask(f"{API}gateway/model-definitions/create", name="mini", provider="openai",
                     secret_id=secret["secret_id"], model_name="gpt-4o-mini")["model_definition"]  # fmt: skip
    model = {"model_definition_id": definition["model_definition_id"], "linkage_type": "PRIMARY"}
    endpoint = ask(f"{API}gateway/endpoints/create", name="chat", model_configs=[model])["endpoint"]
    ask(f"{API}gateway/budgets/create", budget_unit="USD", budget_amount=5, target_scope="GLOBAL",
        duration={"unit": "DAYS", "value": 1}, budget_action="ALERT")  # fmt: skip
    runs, experiment = made["runs"], made["experiment"]
    experiments = quote(json.dumps([experiment]))
    return {
        "e": experiment,
        "g": agent,
        "run": runs[0],
        "model": made["model"],
        "trace": ask(f"{API}traces/search", locations=[of(experiment)])["traces"][0]["trace_id"],
        "dataset": dataset["dataset_id"],
        "endpoint": endpoint["endpoint_id"],
        "compared": f"runs={quote(json.dumps(runs[:3]))}&experiments={experiments}",
        "metric": f"runs={quote(json.dumps(runs[:1]))}&metric=%22loss%22&experiments={experiments}",
        "both": quote(json.dumps([experiment, agent])),
    }


def of(experiment_id: str) -> dict[str, Any]:
    """The place of the traces of an experiment."""
    return {
        "type": "MLFLOW_EXPERIMENT",
        "mlflow_experiment": {"experiment_id": experiment_id},
    }


@pytest.mark.parametrize("name", VIEWS)
def test_no_request_of_a_view_needs_the_bridge(browser: Browser, site: Site, name: str) -> None:
    template, request = VIEWS[name]
    before = site.asked()
    failed: set[str] = set()
    context = browser.new_context(viewport=SIZE)
    page: Page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    address = site.server.url
    flying: set[Any] = set()
    page.on("request", lambda r: flying.add(r))
    page.on("requestfinished", lambda r: flying.discard(r))
    page.on("requestfailed", lambda r: flying.discard(r))
    page.on("response", lambda r: failed.add(shown(r, address)) if r.status >= 400 else None)
    with page.expect_response(lambda r: request in r.url):
        page.goto(f"{address}/#/{template.format(**site.parts)}")
    wait_until_quiet(page, flying)
    if folder := os.environ.get("HEADRACE_TEST_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{site.release}, {name}.png")
    context.close()
    expected = BRIDGED.get(name, set())
    failed -= UNSIGNED.get(name, set())
    needed = {one.removeprefix("501: ") for one in failed if one.startswith("501: ")}
    assert needed == expected
    assert (site.asked() > before) is bool(expected)
    assert {one for one in failed if not one.startswith("501: ")} <= EXPECTED | ABSENT.get(
        name, set()
    )


def wait_until_quiet(page: Page, flying: set[Any]) -> None:
    """Return when no request has been in flight for QUIET_MS."""
    waited = quiet = 0
    while quiet < QUIET_MS and waited < LONGEST_MS:
        page.wait_for_timeout(STEP_MS)
        waited += STEP_MS
        quiet = 0 if any(re.search(API_REQUEST, one.url) for one in flying) else quiet + STEP_MS


def shown(response: Any, address: str) -> str:
    """A failed request without its query."""
    url = re.sub(r"\?.*", "", response.url.removeprefix(address))
    return f"{response.status}: {response.request.method} {url}"
