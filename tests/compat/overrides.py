"""The complete list of intended differences from stock MLflow 3.17.2, with their reasons.

RULES apply to whole classes of requests; OVERRIDES to single ones, named "dialogue: request" as in
tests/compat/dialogues. The differential test fails if a difference is not listed here, if the
answers of an override are equal, and if a rule never applies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tests.compat.parsing import is_misread

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compat.dialogue import Exchange


_PYTHON_TEXT = re.compile(
    r"has no attribute|malformed node|too large to convert|only ASCII characters"
    r"|not supported between|cannot contain NUL|out of range|unsupported operand|Expecting value"
    r"|cannot convert float|could not convert string to float|integer string conversion"
    r"|does not accept objects of type|inputs must be provided|is not iterable"
    r"|required positional argument|unexpected keyword argument"
)


@dataclass(frozen=True)
class Override:
    """The HTTP status of stock, the reason for the difference, and headrace's answer.

    `says` is part of headrace's message. Without a `code` the answer need not be JSON.
    """

    reason: str
    # Several if the databases differ.
    stock: int | tuple[int, ...]
    says: str = ""
    status: int = 400
    code: str = "INVALID_PARAMETER_VALUE"
    databases: tuple[str, ...] = ("sqlite", "postgres")


@dataclass(frozen=True)
class Rule:
    """An intended difference for every request whose exchange with stock satisfies `applies`.

    headrace answers 400 (or 404, if `codes` contains such a code) with a JSON error and writes
    nothing.
    """

    reason: str
    applies: Callable[[Exchange], bool]
    codes: tuple[str, ...] = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


def _is_error_page(exchange: Exchange) -> bool:
    return exchange.answer.status == 500 and not exchange.answer.is_json


def _is_internal_error(exchange: Exchange) -> bool:
    answer = exchange.answer
    if answer.status != 500 or not answer.is_json:
        return False
    return bool(_PYTHON_TEXT.search(answer.json()["message"]))


def _is_misread(exchange: Exchange) -> bool:
    return exchange.answer.status != 400 and is_misread(exchange)


def _is_misread_then_refused(exchange: Exchange) -> bool:
    answer = exchange.answer
    if answer.status != 400 or not answer.is_json or not is_misread(exchange):
        return False
    message = answer.json()["message"]
    return "Hint: Value was of type" not in message and "Missing value for" not in message


def _has_nul(exchange: Exchange) -> bool:
    body = (exchange.body or b"").replace(b"\\\\", b"")
    return b"\\u0000" in body or "%00" in exchange.target


RULES: Final[dict[str, Rule]] = {
    "NUL": Rule(
        "PostgreSQL cannot store NUL, and SQLite's functions end a text at it, so a stored text could "
        "not be found in full. headrace rejects it on both databases, also in search terms.",
        _has_nul,
        codes=("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"),
    ),
    "error page": Rule(
        "Stock answers a request that it cannot read with a 500 HTML page, and clients retry for "
        "minutes; headrace explains the error.",
        _is_error_page,
    ),
    "internal error": Rule(
        "Stock answers an invalid request with 500 and the text of a Python exception; headrace "
        "explains the error.",
        _is_internal_error,
        codes=("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"),
    ),
    "misread": Rule(
        "Stock uses only the part of the body before a value that it cannot parse, or drops an "
        "unknown enum value: data is lost although the answer is 200. headrace reports the value "
        "and writes nothing.",
        _is_misread,
    ),
    "misread, then refused": Rule(
        "Stock reports fields that are missing in the part of the body that it read; headrace "
        "reports the value that cannot be parsed.",
        _is_misread_then_refused,
    ),
}

_UNUSABLE: Final = "Stock answers 500 for a path that no file can have; headrace rejects it."
_NOT_THERE: Final = (
    "Stock answers with a 500 page for a name that no file can have; headrace finds no such file."
)
_WIPES: Final = (
    "Stock treats this path as the root of the artifact store and deletes everything in it: data "
    "is lost although the answer is 200."
)
RETRIED = "Clients repeat a request after a timeout; the second request must not fail."
_LIST = Override(
    "The meaning of one value in parentheses depends on stock's database driver; headrace rejects "
    "it.",
    stock=200,
    code="BAD_REQUEST",
    says="does not take a list of values",
    databases=("postgres",),
)

_READ: Final = Override(
    "Stock drops the number and everything after it. Clients write times as floats, or NaN without "
    "quotes; headrace reads the time without its fraction, and the number by its name.",
    stock=200,
    status=200,
)
_LARGE: Final = Override(
    "Stock reads a body of any size and with any number of values before it reports an error, and "
    "answers no other request meanwhile; headrace explains an invalid body, and reads an unusual "
    "one, up to a limit.",
    stock=(200, 400),
    says="too large to be explained",
)
_WIDE: Final = Override(
    "headrace compares a number that no column can hold like any other; in stock, SQLite's driver "
    "fails on it, and clients retry for minutes.",
    stock=500,
    status=200,
    databases=("sqlite",),
)
_TYPES: Final = Override(
    "Stock ignores ids of a wrong type and reports that one is missing; headrace reports the "
    "value.",
    stock=400,
    says="for parameter 'experiment_ids",
)

_OUTPUTS: Final = Override(
    "Stock fails on outputs that are an object after outputs that were none; headrace stores them, "
    "and the dataset's schema keeps the first type.",
    stock=500,
    status=200,
)

_NEWER_FILTER: Final = Override(
    "headrace's filters have OR, NOT and parentheses.", stock=400, status=200
)
# Filters that only headrace accepts.
_NEWER_FILTERS: Final = (
    *(
        f"{search}: {label} {text}"
        for search, label, one, other in (
            ("search experiments", "bare filter", "name = 'a'", "name = 'b'"),
            ("search logged models", "filter", "name = 'ant'", "name = 'bee'"),
            ("search registered models", "filter", "name = 'zoo-a'", "name = 'zoo-b'"),
            ("search model versions", "filter", "name = 'zoo-a'", "name = 'zoo-b'"),
            ("search runs, wrong filters", "filter", "metrics.loss > 1", "metrics.loss < 3"),
        )
        for text in (f"{one} OR {other}", f"NOT {one}", f"({one})")
    ),
    "search runs, wrong filters: filter (metrics.loss > 1 AND params.lr = 'a')",
)

# As MLflow 3.18, which tests/compat/newer_318.py compares with headrace.
_NEWER: Final = Override("as MLflow 3.18", stock=200, status=200)
_ACCEPTED: Final = replace(_NEWER, stock=400)
_FOUR_PREFIXES: Final = replace(
    _NEWER, stock=400, status=400, says="('attribute', 'attributes', 'tag', 'tags')"
)
_BLANK: Final = "create an experiment: name of spaces"
_NEWER_ANSWERS: Final = {
    _BLANK: replace(_NEWER, status=400, says="Invalid experiment name"),
    "search experiments: filter null": replace(_NEWER, reason=f"finds that of '{_BLANK}'"),
    **dict.fromkeys(
        (
            f"search logged models: filter metrics.acc {text}"
            for text in ("< 0.55", "!= 0.9", "> 0.5 and metrics.acc < 0.6")
        ),
        replace(_NEWER, reason="as MLflow 3.18: the latest point is compared"),
    ),
    "life of a logged model: the body's model counts": replace(
        _NEWER, reason="as MLflow 3.18: the path names the model", status=404,
        code="RESOURCE_DOES_NOT_EXIST",
    ),
    "life of a logged model: unknown model": replace(_NEWER, stock=404),
    **dict.fromkeys(
        (
            f"life of a logged model: {label}"
            for label in (
                "after all", "deleted, allowed", "deleted, allowed in upper case",
                "deleted, allowed twice",
            )
        ),
        replace(_NEWER, reason="what the body's model was finalized to"),
    ),
    **dict.fromkeys(
        (
            f"search experiments: {text}"
            for text in (
                "bare filter name like 'a'", "bare filter name ilike 'a'",
                "bare filter attributes.name = 'a'", "wrong order by ['attributes.name']",
            )
        ),
        _ACCEPTED,
    ),
    **dict.fromkeys(
        (
            f"search experiments: {text}"
            for text in (
                "bare filter attr.name = 'a'", "bare filter metrics.x > 1",
                "bare filter params.x = '1'", "wrong order by ['metrics.x']",
            )
        ),
        _FOUR_PREFIXES,
    ),
}  # fmt: skip

OVERRIDES: Final[dict[str, Override]] = {
    **_NEWER_ANSWERS,
    **dict.fromkeys(_NEWER_FILTERS, _NEWER_FILTER),
    "the run of a batch: run id with a newline": Override(
        "Stock 3.17 lets one newline end an id; 3.18 does not.",
        stock=404,
        says="for parameter 'run_id' supplied",
    ),
    "evaluation datasets: records: an unknown dataset": Override(
        "Stock repeats its driver's message about a foreign key.",
        stock=400,
        status=404,
        code="RESOURCE_DOES_NOT_EXIST",
        says="Evaluation dataset with id 'd-nope' not found",
    ),
    "evaluation datasets: outputs that are no object: an object": _OUTPUTS,
    "headers: Host LOCALHOST": Override(
        "Host names are case-insensitive (RFC 9110 §4.2.3).", stock=403, status=200
    ),
    "create an experiment: tag keys twice": Override(
        "Stock reports that the name is taken, although it is not.",
        stock=400,
        says="another key",
        code="BAD_REQUEST",
    ),
    "numbers with a fraction or by name: what is there": _READ,
    "numbers of five thousand digits: time": replace(_WIDE, databases=("sqlite", "postgres")),
    "texts with NUL: what is there": Override(
        "Stock stores NUL on SQLite.", stock=200, status=200, databases=("sqlite",)
    ),
    "bodies for experiments/create: 10 MB of x": _LARGE,
    "bodies for experiments/create: 10 MB of spaces": _LARGE,
    "bodies for experiments/create: 10 MB of NUL": _LARGE,
    "bodies for experiments/create: 10 MB in an unknown field": _LARGE,
    "bodies for experiments/create: 10 MB in the name": _LARGE,
    "bodies for experiments/create: 100000 unknown fields": replace(
        _LARGE, says="holds more than 50000 values"
    ),
    "bodies for experiments/create: what was created": replace(_LARGE, status=200, says=""),
    "field types of runs/create: start_time: 1.5": _READ,
    "field types of runs/update: end_time: 1.5": _READ,
    "field types of runs/update: after end_time: 1.5": _READ,
    "field types of runs/log-metric: after timestamp: 1.5": _READ,
    "field types of runs/log-batch: after metrics.timestamp: 1.5": _READ,
    "bodies for runs/log-batch: after: bare NaN": _READ,
    "bodies for runs/log-batch: after: bare Infinity": _READ,
    "bodies for runs/log-batch: after: timestamp 1.5": _READ,
    "search runs, filters: filter start_time < 9223372036854775808": _WIDE,
    "search runs, pages: an experiment beyond 64 bits": _WIDE,
    "artifacts of runs: upload no run": Override(
        "as MLflow 3.18, which also takes run_id", 400, "Request must specify run_id or run_uuid."
    ),
    "search experiments: filter creation_time < 9223372036854775808": _WIDE,
    "search experiments: filter experiment_id NOT IN ('9223372036854775808')": _WIDE,
    "search datasets: experiments beyond 64 bits": _WIDE,
    "search datasets: experiments as text": _TYPES,
    "search datasets: experiments as numbers": _TYPES,
    "histories in bulk: negative": Override(
        "A negative limit is no limit on SQLite: stock loads a history of any length into memory. "
        "PostgreSQL rejects it.",
        stock=200,
        code="BAD_REQUEST",
        says="max_results must not be negative",
        databases=("sqlite",),
    ),
    "histories in bulk: steps as integral floats": Override(
        "2.0 is an integer in proto3 JSON; stock fails on it.", stock=500, status=200
    ),
    "sources of model versions: s3 with the name of a link": Override(
        "For a path in a bucket, stock follows links on the server's own disk, and rejects the "
        "path if it is a link there; headrace checks only the text of a source that is not local.",
        stock=400,
        status=200,
    ),
    "outputs of a run: the first again": Override(RETRIED, stock=400, status=200),
    "outputs of a run: the first at another step": Override(RETRIED, stock=400, status=200),
    "outputs of a run: empty model": Override(RETRIED, stock=400, status=200),
    "create a run: experiment with spaces": Override(
        "Stock returns the text of the request; headrace returns the id of the experiment.",
        stock=200,
        status=200,
    ),
    "models in a batch: after an unknown model": Override(
        "Stock commits params and metrics before it detects that the model is unknown; headrace "
        "writes nothing of a rejected batch.",
        stock=200,
        status=200,
    ),
    "search runs, pages: token offset -1": Override(
        "A negative offset is invalid; stock starts at 0 (SQLite) or returns the text of its "
        "driver (PostgreSQL).",
        stock=(200, 400),
        says="Invalid page token",
    ),
    "search runs, pages: max null": Override(
        "In proto3 JSON, null means that the field is not set; stock compares it with a number "
        "(500 page).",
        stock=500,
        status=200,
    ),
    "field types of runs/search: max_results: null": Override(
        "As for max null.", stock=500, status=200, databases=("sqlite",)
    ),
    "routing: doubled slash inside": Override(
        "No client sends such a path; stock redirects it.", stock=308, status=404, code=""
    ),
    "search registered models: filter name = ('zoo-a')": _LIST,
    "search model versions: filter name = ('zoo-a')": _LIST,
    "search logged models: bad: huge experiment": Override(
        "No experiment has such an id; stock's driver fails on it, and clients retry for minutes.",
        stock=500,
        status=200,
        databases=("sqlite",),
    ),
    "life of a logged model: status ''": Override(
        "Stock drops an unknown status and then reports it as missing; headrace reports its value.",
        stock=400,
        says="Invalid value \"\" for parameter 'status'",
    ),
    "artifact paths: put a dot": Override(_UNUSABLE, 500, "Invalid artifact path"),
    "artifact paths: put a dot first": Override(_UNUSABLE, 500, "Invalid artifact path"),
    "artifact paths: put a URI": Override(_UNUSABLE, 500, "Invalid artifact path"),
    "artifacts of runs: upload with a dot": Override(_UNUSABLE, 500, "Invalid artifact path"),
    "artifact paths: get 300 characters": Override(
        _NOT_THERE, 500, "No such artifact", status=404, code="RESOURCE_DOES_NOT_EXIST"
    ),
    "artifact paths: list 300 characters": Override(_NOT_THERE, 500, status=200),
    "artifact paths: delete blank": Override(_WIPES, 200, "Invalid path"),
    "artifact paths: delete absolute": Override(
        "Stock redirects to the path without its leading slash; headrace rejects it, as for other "
        "methods.",
        308,
        "Invalid path",
    ),
}

# In examples.jsonl: stock stored a bare NaN as 0.0 and dropped its time.
OTHER_METRICS: Final = frozenset({"bare"})
