"""Recorded requests and answers of a stock 3.17.2 server (examples.jsonl), replayed and matched.

Placeholders `{{ID1}}` … in a recorded answer are bound to what the server under test answers there, and
filled into later requests.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.compat.dialogue import Exchange
from tests.compat.normalise import Side, is_now, sort_lists
from tests.wire import Answer

if TYPE_CHECKING:
    from tests.wire import Wire

FILE: Final = Path(__file__).with_name("examples.jsonl")
UNORDERED: Final = ("tags", "params", "metrics")
PLACEHOLDER = re.compile(r"\{\{(RFC3339|[A-Z]+)(\d*)\}\}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+")
_REPEATED_TEXT = re.compile(r"<(\d+) times (.)>")
_REPEATED_ITEMS = re.compile(r"<(\d+) items ?(.*)>", re.DOTALL)
_PATTERNS: Final = {
    "ID": r"(?:m-|tr-|d-)?[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "NAME": r"[a-z]+-[a-z]+-\d+",
    "MS": r"\d{13}",
    "RFC3339": r"[0-9T:.-]+Z",
    "CWD": r"/.*?",
    "HOST": r"127\.0\.0\.1:\d+",
}


@dataclass(frozen=True)
class Example:
    """One line of the file."""

    number: int
    area: str
    label: str
    request: dict[str, Any]
    response: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.number} {self.label}"


def load(areas: tuple[str, ...], file: Path = FILE) -> list[Example]:
    """The examples of those areas, in the order recorded."""
    examples = [
        Example(row["n"], row["area"], row["label"], row["request"], row["response"])
        for row in map(json.loads, file.read_text().splitlines())
    ]
    return [example for example in examples if example.area in areas]


@dataclass
class Replay:
    """A replay against one server, and its values of the placeholders."""

    wire: Wire
    other_metrics: frozenset[str] = frozenset()  # keys whose values differ on purpose
    bound: dict[str, str] = field(default_factory=dict)

    def play(self, example: Example) -> tuple[Exchange, Exchange, list[str]]:
        """The recorded exchange, ours, and how they differ."""
        request = example.request
        target = self.filled(request["path"])
        headers = request.get("headers", {})
        body: bytes | None = None
        if "body_text" in request:
            body = self.filled(request["body_text"]).encode()
        elif "body" in request:
            body = json.dumps(self.filled(expanded(request["body"]))).encode()
            headers = {"Content-Type": "application/json"} | headers
        answer = self.wire.ask(request["method"], target, body, headers)
        recorded = Exchange(request["method"], target, body, recorded_answer(example.response))
        ours = Exchange(request["method"], target, body, answer)
        return recorded, ours, self.differences(example.response, answer)

    def filled(self, value: Any) -> Any:
        """The value with placeholders replaced by what they are bound to."""
        if isinstance(value, str):
            return PLACEHOLDER.sub(lambda m: self.bound.get(m[0], m[0]), value)
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if isinstance(value, dict):
            return {k: self.filled(v) for k, v in value.items()}
        return value

    def differences(self, recorded: dict[str, Any], answer: Answer) -> list[str]:
        """The differences of our answer from the recorded one."""
        found = []
        if answer.status != recorded["status"]:
            found.append(f"status {answer.status} instead of {recorded['status']}: {answer}")
        content_type = answer.headers.get("content-type", "")
        if content_type != recorded["content_type"] and answer.body:
            found.append(f"content type {content_type!r} instead of {recorded['content_type']!r}")
        for name, value in recorded.get("headers", {}).items():
            if name != "content-type" and answer.headers.get(name) != value:
                found.append(f"{name}: {answer.headers.get(name)!r} instead of {value!r}")
        if found and answer.status != recorded["status"]:
            return found
        plain = Side("", {}).plain
        if recorded.get("body") is not None:
            kept = without_metrics(recorded["body"], self.other_metrics)
            expected = plain(sort_lists(kept, UNORDERED))
            actual = plain(
                sort_lists(without_metrics(answer.json(), self.other_metrics), UNORDERED)
            )
        else:
            expected, actual = recorded.get("body_text", ""), answer.body.decode(errors="replace")
        return found + self.unlike(expected, actual, "$")

    def unlike(self, expected: Any, actual: Any, path: str) -> list[str]:
        """The differences of a value from its template; new placeholders are bound."""
        if isinstance(expected, dict) and isinstance(actual, dict):
            if list(expected) != list(actual):
                return [f"{path}: keys {list(actual)} instead of {list(expected)}"]
            return [d for k in expected for d in self.unlike(expected[k], actual[k], f"{path}.{k}")]
        if isinstance(expected, list) and isinstance(actual, list):
            if len(expected) != len(actual):
                return [f"{path}: {len(actual)} items instead of {len(expected)}: {actual}"]
            pairs = zip(expected, actual, strict=True)
            return [d for n, (e, a) in enumerate(pairs) for d in self.unlike(e, a, f"{path}[{n}]")]
        if isinstance(expected, str) and self._matches(expected, actual):
            return []
        if json.dumps(expected) == json.dumps(actual):
            return []
        return [f"{path}: {actual!r} instead of {self.filled(expected)!r}"]

    def _matches(self, expected: str, actual: Any) -> bool:
        if expected == "{{MS}}":
            return actual == "<now>" or (isinstance(actual, int) and is_now(actual))
        if not isinstance(actual, str):
            return False
        expected, actual = _TIME.sub("<time>", expected), _TIME.sub("<time>", actual)
        new: list[str] = []
        pattern = ""
        last = 0
        for place in PLACEHOLDER.finditer(expected):
            pattern += re.escape(expected[last : place.start()])
            last = place.end()
            if place[0] in self.bound:
                pattern += re.escape(self.bound[place[0]])
            elif place[2]:
                # The same placeholder twice in one text must be the same value.
                pattern += f"(?P={place[1]}{place[2]})" if place[0] in new else (
                    f"(?P<{place[1]}{place[2]}>{_PATTERNS[place[1]]})"
                )  # fmt: skip
                new.append(place[0])
            else:
                pattern += f"(?:{_PATTERNS[place[1]]}|<now>)"
        match = re.fullmatch(pattern + re.escape(expected[last:]), actual)
        if match is None:
            return False
        self.bound |= {"{{" + name + "}}": value for name, value in match.groupdict().items()}
        return True


def recorded_answer(response: dict[str, Any]) -> Answer:
    """Stock's answer, as far as it was recorded."""
    body = response.get("body")
    text = json.dumps(body) if body is not None else response.get("body_text", "")
    headers = {"content-type": response["content_type"], **response.get("headers", {})}
    return Answer(response["status"], headers, text.encode())


def without_metrics(value: Any, keys: frozenset[str]) -> Any:
    """The JSON value without the metrics of those keys."""
    if isinstance(value, list):
        return [without_metrics(item, keys) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: [m for m in item if m["key"] not in keys]
        if name == "metrics" and isinstance(item, list)
        else without_metrics(item, keys)
        for name, item in value.items()
    }


def expanded(value: Any, key: str = "") -> Any:
    """The request body with generated parts (`<7000 times x>`, `<1001 items …>`) written out."""
    if isinstance(value, dict):
        return {k: expanded(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [expanded(item) for item in value]
    if not isinstance(value, str):
        return value
    if match := _REPEATED_TEXT.fullmatch(value):
        return match[2] * int(match[1])
    if match := _REPEATED_ITEMS.fullmatch(value):
        template = match[2] or DEFAULT_ITEMS[key]
        return [json.loads(template.replace("<i>", str(n))) for n in range(int(match[1]))]
    return value


DEFAULT_ITEMS: Final = {
    "metrics": '{"key": "m<i>", "value": 1.0, "timestamp": 1}',
    "tags": '{"key": "t<i>", "value": "1"}',
}
