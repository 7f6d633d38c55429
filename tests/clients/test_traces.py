"""Real clients send traces: headrace's answers equal the data that stock MLflow reads from the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.stored import rows
from tests.fix_clients import mlflow3
from tests.fix_database import empty_database
from tests.fix_server import headrace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_clients import Client
    from tests.fix_server import Server

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def uri(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URI of one empty database for all tests."""
    with empty_database(database, request, tmp_path_factory.mktemp("traces")) as found:
        yield found


@pytest.fixture(scope="module")
def server(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """headrace on it, without the bridge: everything here is native."""
    off = {"HEADRACE_BRIDGE": "off"}
    with headrace(uri, tmp_path_factory.mktemp("server"), environment=off) as running:
        yield running


def test_traces_read_back_as_stock_reads_them(
    tracing_client: Client, server: Server, uri: str, tmp_path: Path
) -> None:
    name = f"traces of {tracing_client.name}"
    made = tracing_client.run("traces.py", name, uri=server.url, directory=tmp_path)
    prompt = f"prompt-of-{made['experiment_id']}/1"
    args = (made["experiment_id"], made["run_id"], prompt)
    shown = mlflow3().run("dump_traces.py", *args, uri=server.url, directory=tmp_path)
    by_stock = mlflow3().run("dump_traces.py", *args, uri=uri, directory=tmp_path)
    assert shown == by_stock
    # mlflow 3.4 names the prompts of a trace in a tag only.
    check(shown, made, links_prompts=tracing_client.name != "mlflow 3.4")
    # The client itself reads all of them.
    own = tracing_client.run("dump_traces.py", *args, uri=server.url, directory=tmp_path)
    assert list(own["traces"]) == list(shown["traces"])
    assert own["found"][""] == shown["found"][""]
    ids = ", ".join(f"'{trace_id}'" for trace_id in made["trace_ids"])
    query = f"SELECT DISTINCT trace_id FROM spans WHERE trace_id IN ({ids})"
    assert len(rows(uri, query)) == len(made["trace_ids"])


def test_a_library_is_traced_by_autolog(
    tracing_client: Client, server: Server, uri: str, tmp_path: Path
) -> None:
    """The OpenAI library, whose service is imitated by the program."""
    name = f"autolog of {tracing_client.name}"
    made = tracing_client.run("autolog.py", name, uri=server.url, directory=tmp_path)
    if "missing" in made:
        pytest.skip(f"{tracing_client.name} has no {made['missing']}: `make clients` installs it")
    args = (made["experiment_id"], "0" * 32, "")
    shown = mlflow3().run("dump_traces.py", *args, uri=server.url, directory=tmp_path)
    assert shown == mlflow3().run("dump_traces.py", *args, uri=uri, directory=tmp_path)
    good, failed = (shown["traces"][trace_id] for trace_id in made["trace_ids"])
    assert good["usage"] == {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    assert good["spans"][0]["type"] == "CHAT_MODEL"
    assert good["previews"][1] and "Paris, é" in good["previews"][1]
    assert "ERROR" in failed["state"]


def test_a_dataset_is_made_of_traces(server: Server, uri: str, tmp_path: Path) -> None:
    """Its records are the inputs and expectations of the traces, as stock reads them."""
    client = mlflow3()
    made = client.run("traces.py", "dataset", "dataset", uri=server.url, directory=tmp_path)
    assert made["records"] == 2
    query = "SELECT inputs, expectations, source_type FROM evaluation_dataset_records ORDER BY created_time"
    found = rows(uri, query)
    # SQLite gives the JSON as text.
    values = [[json.loads(v) if isinstance(v, str) else v for v in row[:2]] for row in found]
    assert sorted(inputs["question"] for inputs, _ in values) == ["question 0", "question 1"]
    assert {"wanted": {"a": [1, 2]}} in [wanted for _, wanted in values]
    assert {row[2] for row in found} == {"TRACE"}


def check(shown: dict[str, Any], made: dict[str, Any], *, links_prompts: bool) -> None:
    """All data is shown, whether logged by hand, by a decorator or by evaluate()."""
    ids = made["trace_ids"]
    assert len(shown["traces"]) == len(ids) + 3, "a prompt, and two of the evaluation"
    assert shown["traces"] == shown["one by one"]
    found = shown["found"]
    assert found["trace.status = 'ERROR'"] == [ids[6]]
    assert set(found["tag.colour = 'red'"]) >= {ids[0], ids[3]}
    assert set(found["metadata.`mlflow.trace.session` = 's1'"]) >= {ids[1], ids[3], ids[5], ids[7]}
    assert found["feedback.score = '2.0'"] == found["feedback.score > 1"] == [ids[0]]
    assert len(found["feedback.is_short = 'true'"]) == 2
    assert found["trace.text LIKE '%question 3%'"] == [ids[3]]
    assert ids[7] in shown["of the run"]
    if links_prompts:
        assert [made["prompted"]] == next(v for k, v in found.items() if k.startswith("prompt = "))
    assert "prompt-of-" in shown["traces"][made["prompted"]]["tags"]["mlflow.linkedPrompts"]
    first = shown["traces"][ids[0]]
    assert [span["name"] for span in first["spans"]] == ["answer", "look_up", "model"]
    assert first["usage"]["total_tokens"] == 5
    assert first["tags"]["later"] == "é"
    assert {a["assessment_name"] for a in first["assessments"]} == {"score", "wanted"}
    assert made["metrics"] == {"is_short/mean": 1.0}
