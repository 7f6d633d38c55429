"""Requests as data: a Dialogue is a list of Asks that build on one another; play() sends them to one server.

`$name` in a path, query or body stands for a value kept from an earlier answer; `$dialogue` for the
dialogue's own name, so that experiments of different dialogues never clash.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.wire import Answer, Wire

NOTHING: Final = object()  # no body at all, as opposed to a JSON null
JSON_TYPE: Final = {"Content-Type": "application/json"}
PREFIXES: Final = ("/api", "/ajax-api")
_VARIABLE = re.compile(r"\$([a-z]\w*)")


@dataclass(frozen=True)
class Ask:
    """One request. `path` is below `<prefix>/2.0/mlflow/` unless it starts with a slash.

    `body` is a JSON value, or bytes that are sent as they are. `keep` names values of the answer, by
    dotted path, for later requests. `unordered` names lists of the answer that come in no promised order.
    `pause_ms` is waited before sending, so that times of creation differ. `shows_run_untouched`:
    where the request before it is refused on purpose, this one must show a run as it was created.
    """

    label: str
    method: str
    path: str
    body: Any = NOTHING
    query: Mapping[str, Any] | Sequence[tuple[str, str]] | str = ""
    headers: Mapping[str, str] | None = None
    keep: Mapping[str, str] = field(default_factory=dict)
    unordered: tuple[str, ...] = ()
    pause_ms: int = 0
    shows_run_untouched: bool = False


@dataclass(frozen=True)
class Dialogue:
    """A named sequence of requests, and the databases for which it is useful."""

    name: str
    asks: tuple[Ask, ...]
    databases: tuple[str, ...] = ("sqlite", "postgres")

    def __post_init__(self) -> None:
        labels = [ask.label for ask in self.asks]
        twice = {label for label in labels if labels.count(label) > 1}
        assert not twice, f"labels must be unique in {self.name}: {twice}"

    def key(self, ask: Ask) -> str:
        """The name of this request in overrides.py."""
        return f"{self.name}: {ask.label}"


def post(label: str, path: str, body: Any = NOTHING, **more: Any) -> Ask:
    """A POST with a JSON body (or bytes)."""
    return Ask(label, "POST", path, body, **more)


def get(label: str, path: str, query: Any = "", **more: Any) -> Ask:
    """A GET with a query: a mapping, pairs, or text that is sent as it is."""
    return Ask(label, "GET", path, query=query, **more)


def patch(label: str, path: str, body: Any = NOTHING, **more: Any) -> Ask:
    """A PATCH with a JSON body."""
    return Ask(label, "PATCH", path, body, **more)


def delete(label: str, path: str, body: Any = NOTHING, **more: Any) -> Ask:
    """A DELETE with a JSON body."""
    return Ask(label, "DELETE", path, body, **more)


def experiment(label: str = "an experiment", *, name: str = "$dialogue", keep: str = "exp") -> Ask:
    """Create an experiment and keep its id."""
    return post(label, "experiments/create", {"name": name}, keep={keep: "experiment_id"})


def run(label: str = "a run", *, keep: str = "run", **fields: Any) -> Ask:
    """Create a run with a name of its own in `$exp` and keep its id."""
    body = {"experiment_id": "$exp", "run_name": label, "start_time": 1} | fields
    return post(label, "runs/create", body, keep={keep: "run.info.run_id"})


def still(label: str) -> Ask:
    """Read `$run` after a request that may have been refused."""
    query = {"run_id": "$run"}
    lists = ("tags", "params", "metrics")
    return get(label, "runs/get", query, unordered=lists, shows_run_untouched=True)


@dataclass(frozen=True)
class Exchange:
    """A request as it was sent, variables filled in, and its answer."""

    method: str
    target: str
    body: bytes | None
    answer: Answer


class Player:
    """Plays dialogues against one server and stores the values that they keep."""

    def __init__(self, wire: Wire, prefix: str = "/api") -> None:
        self.wire = wire
        self.prefix = prefix

    def play(self, dialogue: Dialogue) -> Iterator[tuple[Ask, Exchange]]:
        """Send every request in order and yield it with what was sent and answered."""
        kept: dict[str, str] = {"dialogue": dialogue.name}
        for ask in dialogue.asks:
            exchange = self.send(ask, kept)
            self._keep(ask, exchange.answer, kept)
            yield ask, exchange

    def send(self, ask: Ask, kept: Mapping[str, str]) -> Exchange:
        """Send one request with its variables filled in."""
        time.sleep(ask.pause_ms / 1000)
        target = fill(ask.path, kept)
        if not target.startswith("/"):
            target = f"{self.prefix}/2.0/mlflow/{target}"
        query = fill(ask.query, kept)
        if query:
            text = query if isinstance(query, str) else urlencode(query, doseq=True)
            target += "?" + quote(text, safe="%&=+;,/:?'()*!$@~[]")
        body = None if ask.body is NOTHING else encode(fill(ask.body, kept))
        headers = ask.headers
        if headers is None:
            headers = JSON_TYPE if ask.method in ("POST", "PUT") else {}
        return Exchange(ask.method, target, body, self.wire.ask(ask.method, target, body, headers))

    @staticmethod
    def _keep(ask: Ask, answer: Answer, kept: dict[str, str]) -> None:
        if not ask.keep:
            return
        for name, path in ask.keep.items():
            value: Any = answer.json() if answer.is_json else {}
            for part in path.split("."):
                value = value.get(part, {}) if isinstance(value, dict) else value[int(part)]
            if isinstance(value, str):
                kept[name] = value


def encode(body: Any) -> bytes:
    """The bytes of a request body."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def fill(value: Any, kept: Mapping[str, str]) -> Any:
    """The value with every `$name` that is known replaced, at any depth."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda m: kept.get(m[1], m[0]), value)
    if isinstance(value, bytes):
        for name, known in kept.items():
            value = value.replace(b"$" + name.encode(), known.encode())
        return value
    if isinstance(value, dict):
        return {fill(k, kept): fill(v, kept) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(fill(item, kept) for item in value)
    return value
