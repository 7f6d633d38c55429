"""Jobs in any state: headrace and stock give the same answers on equal rows, and leave equal rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tests.faults.stored import execute, rows

if TYPE_CHECKING:
    from tests.fix_pair import Pair
    from tests.wire import Answer, Wire

pytestmark = pytest.mark.compat
ASGI = "/ajax-api/3.0/jobs"
FLASK = "/ajax-api/3.0/mlflow/jobs"
OPTIMIZATIONS = "/api/3.0/mlflow/prompt-optimization/jobs"
JSON = {"Content-Type": "application/json"}
PENDING, RUNNING, SUCCEEDED, FAILED, TIMEOUT, CANCELED, NEEDS_RECOVERY = range(7)
OPTIMIZE = {
    "run_id": "$run",
    "experiment_id": "$experiment",
    "prompt_uri": "prompts:/p/1",
    "optimizer_type": "gepa",
    "dataset_id": "d-1",
    "scorer_names": ["Correctness", "Safety"],
    "optimizer_config": {"max_metric_calls": 30, "reflection_model": "é"},
}


class Job(NamedTuple):
    """A row of `jobs`; `$run` and `$experiment` stand for ids of a server."""

    id: str
    name: str
    params: Any
    status: int
    result: str | None = None
    progress: str | None = None
    message: str | None = None
    details: str | None = None
    timeout: float | None = None
    creator: str | None = None


JOBS = (
    Job("pending", "a", {"x": 1, "y": [1, 2.5, None, "é"]}, PENDING, timeout=30),
    Job("running", "a", {"x": 1}, RUNNING, progress='{"phase": "p", "completed": 1}', message="m",
        details='{"stage": "s", "b": {"z": 1, "a": 2}}', creator="ann"),
    Job("succeeded", "b", {"x": 2}, SUCCEEDED, '{"z": [1], "a": {"d": 1, "c": null}}', timeout=0.5),
    Job("text", "b", {}, SUCCEEDED, '"done"', progress="null", details="null"),
    Job("failed", "b", {"x": True}, FAILED, "an error: é"),
    Job("silent", "b", {"x": 1.0}, FAILED),
    Job("late", "b", {"x": {"deep": [1]}}, TIMEOUT, "too late"),
    Job("canceled", "b", {}, CANCELED, "text"),
    Job("lost", "b", {}, NEEDS_RECOVERY, progress="{}"),
    Job("cancel 1", "b", {}, RUNNING, progress='{"total": 3, "unit": "u"}', message="m"),
    Job("cancel 2", "b", {}, NEEDS_RECOVERY, details='{"kept": 1}'),
    Job("o-pending", "optimize_prompts", OPTIMIZE, PENDING, message="m", progress='{"unit": "u"}'),
    Job("o-done", "optimize_prompts", OPTIMIZE, SUCCEEDED, '{"optimized_prompt_uri": "prompts:/p/2"}'),
    Job("o-failed", "optimize_prompts", OPTIMIZE | {"scorer_names": '["A"]'}, FAILED, "no"),
    Job("o-late", "optimize_prompts",
        OPTIMIZE | {"optimizer_type": "other", "optimizer_config": '{"a": 1}'}, TIMEOUT, "late"),
    Job("o-bare", "optimize_prompts", {"experiment_id": "$experiment"}, SUCCEEDED, "[1]"),
    Job("o-other", "optimize_prompts", OPTIMIZE | {"experiment_id": "999"}, RUNNING),
    Job("o-cancel", "optimize_prompts", OPTIMIZE, RUNNING),
    Job("o-delete", "optimize_prompts", OPTIMIZE | {"run_id": "nope"}, CANCELED),
)  # fmt: skip
SEARCHES: tuple[Any, ...] = (
    {},
    {"job_name": "a"},
    {"job_name": "nope"},
    {"job_name": None, "params": None, "statuses": None},
    {"statuses": []},
    {"statuses": ["PENDING", "RUNNING"]},
    {"statuses": ["SUCCEEDED", "SUCCEEDED"], "job_name": "b"},
    {"params": {}},
    {"params": {"x": 1}},
    {"params": {"x": 1, "y": 2}},
    {"params": {"x": {"deep": [1]}}},
    {"unknown": 1},
    {"job_name": 5},
    {"params": [1]},
    {"statuses": "PENDING"},
    {"statuses": ["pending", 1, "RUNNING", None]},
    {"job_name": [], "params": "x", "statuses": {}},
    [],
    None,
    "x",
)
# Bodies that are no JSON, with their types.
BODIES = ((b"{", "application/json"), (b"[1,]", "application/json"), (b"", "application/json"),
          (b'{"a": 1', "application/problem+json"))  # fmt: skip
READS = (
    *((f"{ASGI}/{job.id}", f"{FLASK}/{job.id}", f"{OPTIMIZATIONS}/{job.id}") for job in JOBS),
    (f"{ASGI}/nope", f"{FLASK}/nope", f"{OPTIMIZATIONS}/nope"),
)
CANCELS = (
    ("PATCH", f"{ASGI}/cancel/cancel 1"),
    ("PATCH", f"{ASGI}/cancel/cancel 1"),
    ("PATCH", f"{FLASK}/cancel/cancel 2"),
    ("PATCH", f"{FLASK}/cancel/cancel 2"),
    ("PATCH", f"{ASGI}/cancel/failed"),
    ("PATCH", f"{ASGI}/cancel/nope"),
    ("PATCH", f"{FLASK}/cancel/nope"),
    ("POST", f"{OPTIMIZATIONS}/o-other/cancel"),
    ("DELETE", f"{OPTIMIZATIONS}/o-cancel"),  # it runs: only its run is deleted
    ("POST", f"{OPTIMIZATIONS}/o-cancel/cancel"),
    ("POST", f"{OPTIMIZATIONS}/o-cancel/cancel"),
    ("POST", f"{OPTIMIZATIONS}/nope/cancel"),
    ("DELETE", f"{OPTIMIZATIONS}/o-delete"),
    ("DELETE", f"{OPTIMIZATIONS}/o-delete"),
    ("DELETE", f"{OPTIMIZATIONS}/o-done"),
)


class Side:
    """One of the servers, with its database."""

    def __init__(self, wire: Wire, uri: str) -> None:
        self.wire, self.uri = wire, uri
        name = {"name": "of jobs"}
        self.experiment = self.ok("experiments/create", name)["experiment_id"]
        run = {"experiment_id": self.experiment, "start_time": 1}
        self.run = self.ok("runs/create", run)["run"]["info"]["run_id"]
        for key, value in (
            ("initial_eval_score", 0.25), ("final_eval_score", 0.5), ("total_metric_calls", 7),
            ("initial_eval_score.A", 0), ("final_eval_score.A.b", 1), ("final_eval_scores", 3),
        ):  # fmt: skip
            metric = {"run_id": self.run, "key": key, "value": value, "timestamp": 1}
            self.ok("runs/log-metric", metric)
        for n, job in enumerate(JOBS):
            self.insert(job, n)

    def ok(self, path: str, body: Any) -> Any:
        """The answer to a request that must succeed."""
        answer = self.wire.ask("POST", "/api/2.0/mlflow/" + path, json.dumps(body).encode(), JSON)
        assert answer.status == 200, str(answer)
        return answer.json()

    def insert(self, job: Job, n: int) -> None:
        """Add a job."""
        params = json.dumps(job.params)
        params = params.replace("$run", self.run).replace("$experiment", self.experiment)
        values = [job.id, n, job.name, params, job.status, 0, n, "default", job.result,
                  job.progress, job.message, job.details, job.timeout, job.creator]  # fmt: skip
        texts = [
            "NULL" if v is None else f"'{v}'" if isinstance(v, str) else str(v) for v in values
        ]
        execute(
            self.uri,
            "INSERT INTO jobs (id, creation_time, job_name, params, status, retry_count,"
            " last_update_time, workspace, result, progress, status_message, status_details, timeout,"
            f" creator) VALUES ({', '.join(texts)})",
        )

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> Answer:
        """Send a request."""
        path = path.replace(" ", "%20")
        return self.wire.ask(method, path, body, {"Content-Type": kind} if kind else {})

    def plain(self, text: str) -> str:
        """A text without this server's own ids."""
        return text.replace(self.run, "<run>").replace(f'"{self.experiment}"', '"<experiment>"')

    def shown(self, answer: Answer) -> tuple[Any, ...]:
        """An answer in a form that both servers have in common."""
        body = json.loads(self.plain(answer.body.decode()))
        for job in body.get("jobs", [body]):
            if isinstance(job, dict) and job.get("last_update_time", 0) > len(JOBS):
                job["last_update_time"] = "now"
        return answer.status, answer.headers["content-type"], body

    def left(self) -> list[tuple[Any, ...]]:
        """The rows of jobs and of their run."""
        found = rows(
            self.uri,
            "SELECT j.id, j.status, params, result, status_message, CAST(progress AS VARCHAR),"
            " token_hash, CAST(status_details AS VARCHAR), last_update_time > 1000, r.status,"
            " r.lifecycle_stage, r.end_time > 1000, r.deleted_time > 1000 FROM jobs j, runs r"
            f" WHERE run_uuid = '{self.run}' ORDER BY j.id",
        )
        return [
            tuple(
                # Stock writes null as a JSON text where it clears a column.
                self.plain(v) if isinstance(v, str) and v != "null" else v if v != "null" else None
                for v in row
            )
            for row in found
        ]


def test_jobs_are_read_canceled_and_deleted_as_by_stock(pair: Pair) -> None:
    sides = Side(pair.stock, pair.stock_uri), Side(pair.ours, pair.our_uri)
    unlike = []

    def compare(method: str, path: str, body: bytes | None = None, kind: str = "") -> None:
        stock, ours = (side.shown(side.ask(method, path, body, kind)) for side in sides)
        if stock != ours:
            unlike.append(f"{method} {path} {body!r}\n   stock {stock}\n   ours  {ours}")

    for paths in READS:
        for path in paths:
            compare("GET", path)
    for searched in SEARCHES:
        compare("POST", f"{ASGI}/search", json.dumps(searched).encode(), "application/json")
    for body, kind in BODIES:
        compare("POST", f"{ASGI}/search", body, kind)
    for experiment in ("nope", "999", ""):
        compare("GET", f"{OPTIMIZATIONS}/search?experiment_id={experiment}")
        asked = json.dumps({"experiment_id": experiment}).encode()
        compare("POST", f"{OPTIMIZATIONS}/search", asked, "application/json")
    stock, ours = (
        side.shown(side.ask("GET", f"{OPTIMIZATIONS}/search?experiment_id={side.experiment}"))
        for side in sides
    )
    assert stock == ours
    assert len(ours[2]["jobs"]) == 7
    for method, path in CANCELS:
        compare(method, path)
    assert not unlike, "\n".join(unlike)
    assert sides[0].left() == sides[1].left()


def test_a_body_that_is_no_json_is_refused(pair: Pair) -> None:
    """Stock fails with 500, because it cannot show the bytes of the body."""
    for kind in ("text/plain", ""):
        answer = pair.ours.ask(
            "POST", f"{ASGI}/search", b"{}", {"Content-Type": kind} if kind else {}
        )
        assert answer.status == 422
        assert answer.json()["detail"][0]["input"] == "{}"
