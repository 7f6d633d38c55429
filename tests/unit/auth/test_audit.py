"""Audit lines say who, what and from where, in bounded number, and never a value."""

from __future__ import annotations

import json
import logging
import re

import pytest

from headrace.auth.audit import REFUSALS_AT_ONCE, Audit
from headrace.auth.authority import Caller, Denied, Unauthenticated
from headrace.auth.failures import TooManyFailures
from headrace.auth.origins import Origins
from headrace.contract.errors import ApiError, ErrorCode, not_found, overloaded
from headrace.http.messages import Request
from headrace.server.logs import JsonLines, TextLines

FIELDS = ("user", "client", "method", "route", "status", "reason")
HEAD = Request(
    "POST", "/secret/path", "q=secret", {"authorization": "Basic secret"}, client="10.0.0.9"
)


class Clock:
    """A time that the test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def audit(caplog: pytest.LogCaptureFixture) -> Audit:
    caplog.set_level(logging.INFO, "headrace.audit")
    return Audit(Origins(), Clock())


@pytest.mark.parametrize(
    ("caller", "error", "user", "status"),
    [
        (None, Unauthenticated("wrong password", "ann"), "ann", 401),
        (None, Unauthenticated("unknown user"), "-", 401),
        (Caller("ann"), Denied(), "ann", 403),
        (Caller("ann"), ApiError(ErrorCode.PERMISSION_DENIED, "secret"), "ann", 403),
        (None, TooManyFailures(30, "ann"), "ann", 429),
        (None, TooManyFailures(30, None), "-", 429),
    ],
)
def test_a_refusal_is_one_line(
    audit: Audit,
    caplog: pytest.LogCaptureFixture,
    caller: Caller | None,
    error: Exception,
    user: str,
    status: int,
) -> None:
    audit.refused(HEAD, "/things/{id}", caller, error)
    (record,) = caplog.records
    line = json.loads(JsonLines().format(record))
    assert line.pop("reason")
    assert line.pop("time")
    assert line.pop("process")
    assert line == {
        "level": "warning",
        "logger": "headrace.audit",
        "message": "refused",
        "user": user,
        "client": "10.0.0.9",
        "method": "POST",
        "route": "/things/{id}",
        "status": status,
    }


@pytest.mark.parametrize("error", [Unauthenticated(), not_found("x"), overloaded("x"), KeyError()])
def test_other_answers_are_no_refusals(
    audit: Audit, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    audit.refused(HEAD, "/x", None, error)
    assert not caplog.records


def test_a_flood_of_refusals_is_a_bounded_number_of_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    audit = Audit(Origins(), clock)
    for _ in range(10_000):
        audit.refused(HEAD, "/x", None, Denied())
    assert len(caplog.records) == REFUSALS_AT_ONCE
    clock.now_s += 1
    audit.refused(HEAD, "/x", None, Denied())
    fields = caplog.records[-1].__dict__["fields"]
    assert fields["omitted_lines"] == 10_000 - REFUSALS_AT_ONCE
    audit.refused(HEAD, "/x", None, Denied())
    assert "omitted_lines" not in caplog.records[-1].__dict__["fields"]


def test_a_name_cannot_forge_a_line_or_a_field(
    audit: Audit, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("x\n2026 refused user=root", "x status=200", 'x" status="200', "x" * 5000, "\u202ex")
    for name in names:
        caplog.clear()
        audit.refused(HEAD, "/x", Caller(name), Denied())
        line = TextLines().format(caplog.records[0])
        assert "\n" not in line
        assert line.isascii()
        assert len(line) < 500
        fields = re.findall(r' (\w+)=("(?:[^"\\]|\\.)*"|\S+)', line)
        assert [key for key, _ in fields] == list(FIELDS)


def test_changes_are_always_logged(audit: Audit, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(REFUSALS_AT_ONCE * 2):
        audit.changed(HEAD, "root", "role.assign", role_id=n, target="ann\n")
    assert len(caplog.records) == REFUSALS_AT_ONCE * 2
    line = json.loads(JsonLines().format(caplog.records[0]))
    expected = {"user": "root", "client": "10.0.0.9", "action": "role.assign", "role_id": 0}
    assert expected.items() <= line.items()
    assert line["target"] == "ann\\n"
