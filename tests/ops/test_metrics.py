"""Every family of /metrics follows the events that it counts, in every process."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import psycopg
from prometheus_client.parser import text_string_to_metric_families
from tests.faults.load import JSON, Once, start
from tests.fix_server import headrace
from tests.waiting import eventually
from tests.wire import Wire

from headrace.contract.limits import MAX_SPAN_ITEMS

if TYPE_CHECKING:
    from pathlib import Path

LOG_BATCH = (("method", "POST"), ("route", "/api/2.0/mlflow/runs/log-batch"))
CREATE_RUN = (("method", "POST"), ("route", "/api/2.0/mlflow/runs/create"))
# Counters, and gauges that are sampled once a second.
COUNTERS = (
    ("headrace_requests_total", (*LOG_BATCH, ("status", "200"))),
    ("headrace_requests_total", (*CREATE_RUN, ("status", "200"))),
    ("headrace_request_duration_seconds_count", LOG_BATCH),
    ("headrace_request_duration_seconds_sum", LOG_BATCH),
    ("headrace_group_commit_operations_count", ()),
    ("headrace_group_commit_operations_sum", ()),
    ("headrace_group_commit_wait_seconds_count", ()),
    ("headrace_group_commit_wait_seconds_sum", ()),
    ("headrace_group_commit_flush_seconds_count", ()),
    ("headrace_group_commit_flush_seconds_sum", ()),
    ("headrace_rows_written_total", ()),
    ("headrace_process_cpu_seconds_total", (("worker", "0"),)),
    ("headrace_process_cpu_seconds_total", (("worker", "1"),)),
)
GZIP = {"content-encoding": "gzip"}
OUTCOMES = ("stored", "rejected", "refused")
ERRORS = "headrace_database_errors_total"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(url: str) -> Samples:
    """/metrics of the process that accepts a new connection; malformed families raise."""
    with Wire(url) as wire:
        text = wire.ask("GET", "/metrics").body.decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type != "unknown", family.name
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def total(found: Samples, name: str, **labels: str) -> float:
    """The sum of a name's samples that have these labels."""
    wanted = set(labels.items())
    return sum(value for (n, have), value in found.items() if n == name and wanted <= set(have))


def test_two_workers_under_load(postgres_uri: str, tmp_path: Path) -> None:
    """Counters only grow, and gauges show load while there is some and none after it."""
    with headrace(postgres_uri, tmp_path, "--workers", "2", "--no-bridge") as server:
        with Once(server.url) as wire:
            run_id = wire.new_run()
        before = samples(server.url)
        writers = start(6, server.url, run_id)
        seen: dict[str, float] = {}

        def all_were_busy() -> bool:
            found = samples(server.url)
            for name, value in (
                ("connections", total(found, "headrace_connections")),
                ("in flight", total(found, "headrace_requests_in_flight")),
                ("pool", total(found, "headrace_pool_connections", pool="write", state="in_use")),
                ("queue", total(found, "headrace_write_queue_operations")),
                ("queue bytes", total(found, "headrace_write_queue_bytes")),
            ):
                seen[name] = max(seen.get(name, 0), value)
            return all(seen.values())

        try:
            eventually(all_were_busy)
            for key in COUNTERS:
                eventually(lambda key=key: samples(server.url).get(key, 0) > before.get(key, 0))
            during = samples(server.url)
        finally:
            for writer in writers:
                writer.stop()
        acknowledged = sum(len(writer.batches) for writer in writers)
        count = ("headrace_requests_total", (*LOG_BATCH, ("status", "200")))
        eventually(lambda: samples(server.url)[count] == acknowledged)
        eventually(lambda: total(samples(server.url), "headrace_requests_in_flight") <= 1)
        after = samples(server.url)
        for key, value in during.items():
            if key[0].endswith(("_total", "_count", "_bucket", "_sum")):
                assert after[key] >= value, key
    for pool in ("read", "point", "write"):
        assert total(after, "headrace_pool_connections", pool=pool, state="max") > 0
    assert total(after, "headrace_process_resident_memory_bytes") > 20 << 20
    assert total(after, "headrace_process_open_files") > 10
    assert total(after, "headrace_workers") == 2
    assert total(after, "headrace_database_up") == 1
    (build,) = [dict(labels) for name, labels in after if name == "headrace_build_info"]
    assert build["database"] == "postgres"
    assert build.keys() >= {"version", "python", "schema"}


def test_errors_of_the_database_are_counted_by_kind(postgres_uri: str, tmp_path: Path) -> None:
    """A connection that breaks during a write counts too, although its client gets no error."""
    waiting = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headrace'"
        " AND datname = current_database() AND wait_event_type = 'Lock'"
    )
    with headrace(postgres_uri, tmp_path, "--no-bridge") as server, Once(server.url) as wire:
        run_id = wire.new_run()
        with psycopg.connect(postgres_uri) as holder, psycopg.connect(postgres_uri) as killer:
            holder.execute("LOCK TABLE params")
            writers = start(1, server.url, run_id)
            eventually(lambda: killer.execute(waiting).fetchone())
            holder.rollback()
        eventually(lambda: writers[0].batches)
        writers[0].stop()
        assert set(writers[0].answers) == {"200"}
        assert wire.post("experiments/create", {"name": "Default"}).status == 400

        def kinds() -> set[str]:
            found = samples(server.url).items()
            of_errors = [(dict(labels), v) for (n, labels), v in found if n == ERRORS]
            return {labels["kind"] for labels, value in of_errors if value}

        eventually(lambda: kinds() >= {"Unavailable", "UniqueViolation"})


def test_spans_are_counted_by_their_outcome(tmp_path: Path) -> None:
    """Stored, rejected beyond a limit, and refused with the whole request."""
    attributes = [{"key": f"k{n}"} for n in range(MAX_SPAN_ITEMS + 1)]
    good = {"traceId": "ab" * 16, "spanId": "0" * 15 + "1"}
    rejected = {"traceId": "cd" * 16, "spanId": "0" * 15 + "2", "attributes": attributes}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [good, good, rejected]}]}]}
    text = json.dumps(body).encode()
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) as server, Wire(server.url) as wire:
        for experiment, status in (("77", 404), ("0", 200)):
            headers = JSON | {"x-mlflow-experiment-id": experiment}
            answer = wire.ask("POST", "/v1/traces", gzip.compress(text), headers | GZIP)
            assert answer.status == status, answer
        found = samples(server.url)
    outcomes = {o: total(found, "headrace_spans_total", outcome=o) for o in OUTCOMES}
    assert outcomes == {"stored": 2, "rejected": 1, "refused": 2}
    assert total(found, "headrace_span_traces_total") == 1
    assert total(found, "headrace_span_bytes_total") == len(text)
