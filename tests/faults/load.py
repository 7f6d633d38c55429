"""Clients that write from many threads and record the acknowledged writes."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests import waiting
from tests.wire import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GONE = (OSError, http.client.HTTPException)  # the errors of a client whose server is killed
API = "/api/2.0/mlflow/"
JSON = {"content-type": "application/json"}


class Once(Wire):
    """A connection that never sends a request twice: after an error its effect is unknown."""

    def ask(self, *args: Any, **kwargs: Any) -> Answer:
        """As `Wire.ask`, but without the retry."""
        method, target, body = (*args, None)[:3]
        try:
            return self._exchange(method, target, body, dict(kwargs.get("headers") or {}))
        except GONE:
            self.close()
            raise

    def post(self, name: str, body: dict[str, Any]) -> Answer:
        """POST to one of the tracking endpoints."""
        return self.ask("POST", API + name, json.dumps(body).encode(), headers=JSON)

    def made(self, name: str, body: dict[str, Any]) -> Any:
        """The decoded answer of a call that must succeed."""
        answer = self.post(name, body)
        assert answer.status == 200, str(answer)
        return answer.json()

    def new_run(self, experiment_id: str = "0", name: str = "run") -> str:
        """Create a run; its id."""
        body = {"experiment_id": experiment_id, "run_name": name, "start_time": 1}
        run_id: str = self.made("runs/create", body)["run"]["info"]["run_id"]
        return run_id


def point(key: str, value: float, step: int) -> dict[str, Any]:
    """A metric as log-batch takes it; its time is its step."""
    return {"key": key, "value": value, "timestamp": step, "step": step}


class Writer(threading.Thread):
    """A client that logs batches (metric, param, tag) in a loop and sometimes creates a run. It never retries.

    `batches` (numbers) and `runs` (names) were acknowledged; `unwritten` has those that were refused with 429;
    `answers` counts each status, and "gone" for a broken connection; `slowest_s` is the time of the slowest request.
    """

    def __init__(self, number: int, url: str, run_id: str, first: int = 0) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self.number = number
        self.run_id = run_id
        self.batches: list[int] = []
        self.runs: list[str] = []
        self.unwritten: list[int | str] = []
        self.answers: dict[str, int] = {}
        self.refusals: list[Answer] = []
        self.slowest_s = 0.0
        self.next = first
        self._url = url
        self._stop_now = threading.Event()

    def run(self) -> None:
        """Write until `stop`; after a broken connection continue a moment later."""
        with Once(self._url) as wire:
            while not self._stop_now.is_set():
                self._ask(wire, "runs/log-batch", self._batch(self.next), self.batches, self.next)
                if self.next % 4 == 0:
                    name = f"run-{self.number}-{self.next}"
                    body = {"experiment_id": "0", "run_name": name, "start_time": 1}
                    self._ask(wire, "runs/create", body, self.runs, name)
                self.next += 1

    def _batch(self, number: int) -> dict[str, Any]:
        mine = f"writer-{self.number}"
        return {
            "run_id": self.run_id,
            "metrics": [point(mine, number, number), point("shared", self.number, number)],
            "params": [{"key": f"{mine}-{number}", "value": str(number)}],
            "tags": [{"key": mine, "value": str(number)}],
        }

    def _ask(self, wire: Once, name: str, body: dict[str, Any], kept: list[Any], what: Any) -> None:
        started = time.monotonic()
        try:
            answer = wire.post(name, body)
        except GONE:
            outcome = "gone"
            time.sleep(0.01)
        else:
            outcome = str(answer.status)
            if answer.status == 200:
                kept.append(what)
            else:
                self.refusals.append(answer)
                if answer.status == 429:
                    self.unwritten.append(what)
                time.sleep(0.05)
        self.slowest_s = max(self.slowest_s, time.monotonic() - started)
        self.answers[outcome] = self.answers.get(outcome, 0) + 1

    def stop(self) -> None:
        """Finish the current request and end the thread."""
        self._stop_now.set()
        self.join(60)
        assert not self.is_alive(), f"{self.name} hangs"


def start(count: int, url: str, run_id: str) -> list[Writer]:
    """Start `count` writers."""
    writers = [Writer(n, url, run_id) for n in range(count)]
    for writer in writers:
        writer.start()
    return writers


def summary(writers: Sequence[Writer]) -> str:
    """The answers to the writers, for the report of a long run."""
    heard: Counter[str] = Counter()
    for writer in writers:
        heard.update(writer.answers)
    counts = ", ".join(f"{number:,} of {status}" for status, number in sorted(heard.items()))
    kept = sum(len(writer.batches) + len(writer.runs) for writer in writers)
    slowest_s = max(writer.slowest_s for writer in writers)
    return f"{kept:,} writes acknowledged ({counts}); the slowest answer took {slowest_s:.1f} s"


def eventually(condition: Callable[[], bool], within_s: float) -> None:
    """Wait until a condition holds; a broken connection counts as false. Fails the test after `within_s` seconds."""
    waiting.eventually(condition, within_s, ignored=GONE, pause_s=0.05)


def in_threads(jobs: Sequence[Callable[[], None]]) -> None:
    """Run all jobs concurrently; raises the first exception of any of them."""
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 raised again below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
