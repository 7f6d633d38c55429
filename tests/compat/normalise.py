"""Makes two answers comparable: replaces ids, times, random names and driver messages, and nothing else.

Everything is compared as text: numbers keep their JSON form (1 is not 1.0), objects their key order.
"""

from __future__ import annotations

import difflib
import json
import re
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.wire import Answer

HEADERS: Final = (
    "content-type",
    "x-content-type-options",
    "x-frame-options",
    "vary",
    "allow",
    "access-control-allow-origin",
    "content-disposition",
    "content-range",
    "accept-ranges",
    "cache-control",
)
PROTECTIVE: Final = ("x-content-type-options", "x-frame-options", "vary")
LIST_HEADERS: Final = frozenset({"vary", "allow"})
KINDS: Final = ("id", "name", "digest", "experiment")
DAY_MS: Final = 86_400_000
STARTED_MS: Final = int(time.time() * 1000)
DRIVER_TEXT: Final = "<driver text>"

_ID = re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
_RANDOM_ID = re.compile("[a-z]{1,2}-[0-9a-f]{32}")
_BOUNDARY = re.compile(r"\b[0-9a-f]{26}\b")  # of a multipart/byteranges body
_RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-\d{1,4}")
_NUMBER = re.compile(r"\b\d{13}\b")
_DRIVER = re.compile(
    # headrace has its own sentence instead; no client depends on the driver's.
    r"(?:\(raised as a result of [^)]*\)\n)?\((?:sqlite3|psycopg2?)\.[\w.]+\).*"
    r"|The database (?:holds|rejected|could not|stopped|is not available)\b.*",
    re.DOTALL,
)
_SET = re.compile(r"\{('[^']*'(?:, '[^']*')*)\}")
_EXPERIMENT_IN_TEXT = re.compile(
    r"(?<=mlflow-artifacts:/)\d+|(?<=Experiment with id=)\d+"
    r"|(?<=The experiment )\d+|(?<=experiment with id )\d+"
)


class Twins:
    """Matches the random values of two servers.

    Values that are new in a pair of answers are matched in order of appearance; both then get the same
    placeholder from then on. A value that only one server knows gets a placeholder of its own.
    """

    def __init__(self, stock_texts: dict[str, str], our_texts: dict[str, str]) -> None:
        self._stock = Side("stock", stock_texts)
        self._ours = Side("ours", our_texts)
        self._count = 0

    def align(self, stock: Any, ours: Any) -> tuple[Any, Any]:
        """Both JSON values with random parts replaced."""
        stock, ours = self._stock.plain(stock), self._ours.plain(ours)
        for kind in KINDS:
            ours_new = self._ours.new(kind, ours)
            stock_new = self._stock.new(kind, stock)
            if len(ours_new) != len(stock_new):
                continue
            for stock_value, our_value in zip(stock_new, ours_new, strict=True):
                self._count += 1
                placeholder = f"<{kind} {self._count}>"
                self._stock.known[kind, stock_value] = placeholder
                self._ours.known[kind, our_value] = placeholder
        return self._stock.replaced(stock), self._ours.replaced(ours)


class Side:
    """The random values of one server and their placeholders."""

    def __init__(self, name: str, texts: dict[str, str]) -> None:
        self.name = name
        self.texts = texts
        self.known: dict[tuple[str, str], str] = {}

    def plain(self, value: Any) -> Any:
        """The value without random parts that need no match: times, driver messages, order of sets."""
        return mapped(value, lambda text, _: self._plain_text(text))

    def _plain_text(self, text: str) -> str:
        for own, common in self.texts.items():
            text = text.replace(own, common)
        text = _DRIVER.sub(DRIVER_TEXT, text)
        text = _NUMBER.sub(lambda m: "<now>" if is_now(int(m[0])) else m[0], text)
        return _SET.sub(lambda m: "{" + ", ".join(sorted(m[1].split(", "))) + "}", text)

    def new(self, kind: str, value: Any) -> list[str]:
        """Random values of that kind that were not seen before, in order of appearance."""
        found: dict[str, None] = {}

        def note(text: str, key: str) -> str:
            for match in matches(kind, text, key):
                if (kind, match[0]) not in self.known:
                    found[match[0]] = None
            return text

        mapped(value, note)
        return list(found)

    def replaced(self, value: Any) -> Any:
        """The value with random values replaced by their placeholders."""

        def replace(text: str, key: str) -> str:
            for kind in KINDS:
                for match in reversed(list(matches(kind, text, key))):
                    placeholder = self.known.get((kind, match[0]), f"<{kind} of {self.name}>")
                    text = text[: match.start()] + placeholder + text[match.end() :]
            return text

        return mapped(value, replace)


def matches(kind: str, text: str, key: str) -> Iterator[re.Match[str]]:
    """The positions of random values of a kind in the text of a JSON key."""
    if kind == "id":
        yield from _ID.finditer(text)
    elif kind == "name":
        yield from _RANDOM_NAME.finditer(text) if _RANDOM_NAME.fullmatch(text) else ()
    elif kind == "digest":  # of an evaluation dataset: it depends on the time
        yield from re.finditer(r"\A[0-9a-f]{8}\Z", text) if key == "digest" else ()
    elif key == "experiment_id":
        yield from re.finditer(r"\A\d+\Z", text)
    else:
        yield from _EXPERIMENT_IN_TEXT.finditer(text)


def mapped(value: Any, change: Callable[[str, str], str], key: str = "") -> Any:
    """The JSON value with every text replaced by `change(text, its key)`."""
    if isinstance(value, str):
        return change(value, key)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return "<now>" if is_now(value) else value
    if isinstance(value, list):
        return [mapped(item, change, key) for item in value]
    if isinstance(value, dict):
        return {k: mapped(v, change, k) for k, v in value.items()}
    return value


def is_now(number: int) -> bool:
    """Whether a number is a time of this test run, in milliseconds since the epoch."""
    return abs(number - STARTED_MS) < DAY_MS


def _without_ids(item: Any) -> str:
    return _RANDOM_ID.sub("", json.dumps(item))


def sort_lists(value: Any, names: tuple[str, ...]) -> Any:
    """The JSON value with the lists and objects under those keys sorted by their text without random ids."""
    if isinstance(value, dict):
        shown: dict[str, Any] = {}
        for k, v in value.items():
            shown[k] = sort_lists(v, names)
            if k in names and isinstance(v, list):
                shown[k] = sorted(shown[k], key=_without_ids)
            elif k in names and isinstance(v, dict):
                shown[k] = dict(sorted(shown[k].items()))
        return shown
    if isinstance(value, list):
        return [sort_lists(item, names) for item in value]
    return value


def body_of(answer: Answer, unordered: tuple[str, ...]) -> Any:
    """The body as a JSON value; anything but JSON as a text."""
    text = answer.body.decode(errors="replace")
    if not answer.is_json:
        return _BOUNDARY.sub("boundary", text)
    try:
        return sort_lists(answer.json(), unordered)
    except ValueError:
        return f"not JSON: {text[:500]}"


def head_lines(answer: Answer) -> list[str]:
    """Status and the headers that a client or a browser acts on."""
    lines = [f"status: {answer.status}"]
    for name in HEADERS:
        # The type of an empty body is meaningless.
        if name not in answer.headers or (name == "content-type" and not answer.body):
            continue
        value = _BOUNDARY.sub("boundary", answer.headers[name])
        if name in LIST_HEADERS:
            value = ", ".join(sorted({part.strip() for part in value.split(",")}))
        lines.append(f"{name}: {value}")
    return lines


def body_lines(value: Any) -> list[str]:
    """A JSON value as comparable lines."""
    if isinstance(value, str):
        return value.splitlines()
    return json.dumps(value, indent=1, ensure_ascii=False).splitlines()


def compared(
    stock: Answer, ours: Answer, twins: Twins, unordered: tuple[str, ...] = ()
) -> list[str]:
    """The differences between two answers, marked - (stock) and + (ours)."""
    stock_head = head_lines(stock)
    # headrace may send protective headers that stock omits.
    forgotten = tuple(name for name in PROTECTIVE if name not in stock.headers)
    our_head = [line for line in head_lines(ours) if not line.startswith(forgotten)]
    bodies = twins.align(body_of(stock, unordered), body_of(ours, unordered))
    return differences(stock_head + body_lines(bodies[0]), our_head + body_lines(bodies[1]))


def differences(stock: list[str], ours: list[str]) -> list[str]:
    """The lines on which two texts differ.

    In place of a driver's message from stock, ours may have any text.
    """
    if len(stock) == len(ours):
        pairs = zip(stock, ours, strict=True)
        ours = [s if _same_but_for_driver(s, o) else o for s, o in pairs]
    if stock == ours:
        return []
    found = difflib.unified_diff(stock, ours, lineterm="", n=0)
    return [line for line in found if not line.startswith(("---", "+++", "@@"))]


def _same_but_for_driver(stock: str, ours: str) -> bool:
    before, marker, _ = stock.partition(DRIVER_TEXT)
    return bool(marker) and ours.startswith(before) and len(ours) > len(before) + 5
