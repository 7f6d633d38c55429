"""Clients that write traces from many threads, what was acknowledged, and the check of the database against it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.faults.load import GONE, JSON, Once
from tests.faults.stored import rows
from tests.faults.write_kinds import PLACE
from tests.fix_server import STOCK_ENVIRONMENT, base_environment, stock_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.wire import Answer

TRACES: Final = "/api/3.0/mlflow/traces"
START_NS: Final = 1_760_000_000_000_000_000
OTLP: Final = JSON | {"x-mlflow-experiment-id": "0"}
USAGE: Final = json.dumps({"input_tokens": 1, "output_tokens": 0, "total_tokens": 1})

# Reads every trace with its spans, and assesses one, through MLflow's own store.
_READ_WITH_STOCK: Final = """
import json, sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore(sys.argv[1], "mlflow-artifacts:/")
infos, token = [], None
while True:
    page, token = store.search_traces(locations=["0"], max_results=500, page_token=token)
    infos += page
    if not token or not page:
        break
stored = [i.trace_id for i in infos if i.tags.get("mlflow.trace.spansLocation")]
spans = {}
for at in range(0, len(stored), 200):
    for trace in store.batch_get_traces(stored[at : at + 200]):
        spans[trace.info.trace_id] = len(trace.data.spans)
store.set_trace_tag(infos[0].trace_id, "by stock", "1")
print(json.dumps([sorted(i.trace_id for i in infos), spans]))
"""


def span(trace: str, number: int, parent: int | None) -> dict[str, Any]:
    """A span in OTLP's JSON; all but roots used one token."""
    made: dict[str, Any] = {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "name": f"step {number}",
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 1_000_000),
    }
    if parent is None:
        return made
    usage = {"key": "mlflow.chat.tokenUsage", "value": {"stringValue": USAGE}}
    return made | {"parentSpanId": f"{parent:016x}", "attributes": [usage]}


@dataclass
class Ledger:
    """The acknowledged writes of one writer; `requests` has the spans of every request, also unacknowledged ones."""

    spans: set[tuple[str, str]] = field(default_factory=set)
    requests: list[list[tuple[str, str]]] = field(default_factory=list)
    links: set[str] = field(default_factory=set)
    infos: set[str] = field(default_factory=set)
    tags: set[tuple[str, str]] = field(default_factory=set)
    assessments: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return sum(map(len, (self.spans, self.infos, self.tags, self.assessments)))


class TraceWriter(threading.Thread):
    """A client that sends traces in a loop, half of their spans to traces shared by all writers. It never retries.

    `acked` has what was acknowledged; `answers` counts each status, and "gone" for a broken connection.
    """

    def __init__(self, number: int, url: str, shared: Sequence[str], run_id: str) -> None:
        super().__init__(name=f"trace-writer-{number}", daemon=True)
        self.number = number
        self.acked = Ledger()
        self.answers: Counter[str] = Counter()
        self.refusals: list[Answer] = []
        self._url = url
        self._shared = shared
        self._run_id = run_id
        self._token = uuid.uuid4().hex[:12]  # writers of later turns have the same numbers
        self._stop_now = threading.Event()

    def run(self) -> None:
        """Write until `stop`; after a broken connection continue a moment later."""
        with Once(self._url) as wire:
            turn = 0
            while not self._stop_now.is_set():
                self._turn(wire, turn)
                turn += 1

    def _turn(self, wire: Once, turn: int) -> None:
        """One trace as a client sends it, a tag and an assessment; the information comes first in each third turn."""
        trace = uuid.uuid4().hex
        if turn % 3 == 0:
            self._info(wire, trace)
        self._export(wire, trace, turn)
        if turn % 3:
            self._info(wire, trace)
        shared = self._shared[turn % len(self._shared)]
        key = f"writer-{self._token}-{turn}"
        body = {"key": key, "value": "1"}
        if self._ask(wire, "PATCH", f"{TRACES}/tr-{shared}/tags", body):
            self.acked.tags.add((shared, key))
        given = {"assessment": {"assessment_name": key, "feedback": {"value": turn}}}
        if self._ask(wire, "POST", f"{TRACES}/tr-{shared}/assessments", given):
            self.acked.assessments.add(key)

    def _export(self, wire: Once, trace: str, turn: int) -> None:
        place = (self.number + 1) << 32 | turn << 4
        other = self._shared[(turn + self.number) % len(self._shared)]
        many = [span(trace, 1, None), span(trace, 2, 1), span(other, place, 1)]
        ids = [(one["traceId"], one["spanId"]) for one in many]
        self.acked.requests.append(ids)
        body = {"resourceSpans": [{"scopeSpans": [{"spans": many}]}]}
        headers = OTLP | ({"x-mlflow-run-id": self._run_id} if self._run_id else {})
        if self._ask(wire, "POST", "/v1/traces", body, headers):
            self.acked.spans.update(ids)
            if self._run_id:
                self.acked.links.add(trace)

    def _info(self, wire: Once, trace: str) -> None:
        info = {
            "trace_id": f"tr-{trace}",
            "trace_location": PLACE,
            "state": "OK",
            "tags": {"k": trace},
            "trace_metadata": {"m": trace},
        }
        if self._ask(wire, "POST", TRACES, {"trace": {"trace_info": info}}):
            self.acked.infos.add(trace)

    def _ask(
        self,
        wire: Once,
        method: str,
        target: str,
        body: dict[str, Any],
        headers: dict[str, str] = JSON,
    ) -> bool:
        try:
            answer = wire.ask(method, target, json.dumps(body).encode(), headers=headers)
        except GONE:
            self.answers["gone"] += 1
            time.sleep(0.01)
            return False
        self.answers[str(answer.status)] += 1
        if answer.status != 200:
            self.refusals.append(answer)
            time.sleep(0.05)
        return answer.status == 200

    def stop(self) -> None:
        """Finish the current request and end the thread."""
        self._stop_now.set()
        self.join(60)
        assert not self.is_alive(), f"{self.name} hangs"


def start(count: int, url: str, traces: int, run_id: str) -> tuple[list[str], list[TraceWriter]]:
    """Create shared traces, and start `count` writers; both."""
    shared = [uuid.uuid4().hex for _ in range(traces)]
    many = [span(trace, 1, None) for trace in shared]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": many}]}]}).encode()
    with Once(url) as wire:
        answer = wire.ask("POST", "/v1/traces", body, headers=OTLP)
        assert answer.status == 200, answer
    writers = [TraceWriter(n, url, shared, run_id) for n in range(count)]
    for writer in writers:
        writer.start()
    return shared, writers


def summary(writers: Sequence[TraceWriter]) -> str:
    """The answers to the writers, for the report of a long run."""
    heard = sum((writer.answers for writer in writers), Counter[str]())
    counts = ", ".join(f"{number:,} of {status}" for status, number in sorted(heard.items()))
    return f"{sum(len(writer.acked) for writer in writers):,} rows acknowledged ({counts})"


def check(
    uri: str,
    shared: Sequence[str],
    run_id: str,
    writers: Sequence[TraceWriter],
    *,
    with_sums: bool = True,
) -> None:
    """Acknowledged writes are there, once; no request is there in part; sums agree with the spans.

    `with_sums` False: stock has written too, which loses tokens of concurrent requests.
    """
    spans: dict[str, set[str]] = defaultdict(set)
    for trace_id, span_id in rows(uri, "SELECT trace_id, span_id FROM spans"):
        assert span_id not in spans[trace_id]
        spans[trace_id].add(span_id)
    stored = {(trace_id[3:], one) for trace_id, ids in spans.items() for one in ids}
    tags = dict(rows(uri, "SELECT request_id, value FROM trace_tags WHERE key = 'k'"))
    metadata = dict(
        rows(uri, "SELECT request_id, value FROM trace_request_metadata WHERE key = 'm'")
    )
    set_later = set(rows(uri, "SELECT request_id, key FROM trace_tags WHERE key LIKE 'writer-%'"))
    assessed = Counter(
        name for (name,) in rows(uri, "SELECT name FROM assessments WHERE name LIKE 'writer-%'")
    )
    query = f"SELECT source_id FROM entity_associations WHERE destination_id = '{run_id}'"
    links = Counter(source for (source,) in rows(uri, query))
    for writer in writers:
        acked = writer.acked
        assert acked.spans <= stored, acked.spans - stored
        assert {f"tr-{trace}" for trace in acked.links} <= set(links)
        for trace in acked.infos:
            assert (tags[f"tr-{trace}"], metadata[f"tr-{trace}"]) == (trace, trace)
        assert {(f"tr-{trace}", key) for trace, key in acked.tags} <= set_later
        assert acked.assessments <= set(assessed), acked.assessments - set(assessed)
        torn = [ids for ids in acked.requests if len(stored.intersection(ids)) not in (0, len(ids))]
        assert not torn, "a part of a request is stored"
    assert not [name for name, count in (assessed | links).items() if count > 1]
    sums = dict(rows(uri, "SELECT request_id, total_tokens FROM trace_info"))
    for trace_id, ids in spans.items():
        assert not with_sums or (sums[trace_id] or 0) == len(ids) - 1, trace_id
    assert all(f"tr-{trace}" in sums for trace in shared)
    check_stock_reads(uri, spans)


def check_stock_reads(uri: str, spans: dict[str, set[str]]) -> None:
    """Stock MLflow finds every trace with all its spans, and writes to one."""
    done = subprocess.run(
        [sys.executable, "-c", _READ_WITH_STOCK, stock_uri(uri)],
        env=base_environment() | STOCK_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, counts = json.loads(done.stdout.splitlines()[-1])
    assert found == sorted(id_ for (id_,) in rows(uri, "SELECT request_id FROM trace_info"))
    assert counts == {trace_id: len(ids) for trace_id, ids in spans.items()}
