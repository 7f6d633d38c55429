"""`headrace import` from a server that cuts, breaks off, lies and stalls."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from tests.transfer.hostile import RUN, SIZE, Answer, Hostile, run, serving

from headrace.transfer import server_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.transfer.conftest import Imported


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with serving(Hostile()) as found:
        yield found


def cut(_fields: dict[str, Any], _number: int) -> Answer:
    return Answer(b"x" * 5000, Content_Length="1000000")


LISTED = Answer({"files": [{"path": "a.bin", "is_dir": False, "file_size": 1_000_000}]})
SHORTER = Answer(b"x" * 5000)
BAD_CHUNKS = Answer(b"400\r\nxx", Transfer_Encoding="chunked", Content_Length="")


@pytest.mark.parametrize(
    ("listed", "sent", "message"),
    [
        (LISTED, cut, "the server sent 5,000 of 1,000,000 bytes"),
        (None, SHORTER, "the server sent 5,000 of 100,000 bytes"),
        (None, BAD_CHUNKS, "the answer broke off after 0 bytes"),
    ],
    ids=["cut", "another-size", "chunks"],
)
def test_an_incomplete_artifact_is_not_imported_and_repaired_later(
    imported: Imported,
    hostile: Hostile,
    tmp_path: Path,
    listed: Answer | None,
    sent: Any,
    message: str,
) -> None:
    before = dict(hostile.answers)
    if listed is not None:
        hostile.of("artifacts/list", listed)
    hostile.of("get-artifact", sent)
    code, text = imported(hostile.url)
    assert code == 1
    assert "Imported 1 experiment, 1 run, 1 point, 1 file (100,000 bytes)" in text
    assert f"NOT IMPORTED: run {RUN}: The artifact 'a.bin' is not complete: {message}" in text
    assert hostile.requests[f"get-artifact {RUN}"] == 4
    assert not [file for file in tmp_path.rglob("a.bin") if RUN in str(file)]
    hostile.answers = before
    code, text = imported(hostile.url)
    assert (code, "1 run, 1 point, 1 file (100,000 bytes); 1 run was there" in text) == (0, True)
    assert [len(file.read_bytes()) for file in tmp_path.rglob("a.bin")] == [SIZE, SIZE]


def once(answer: Answer, path: str) -> Callable[[Hostile], None]:
    """Give this answer to the first request of a path."""

    def prepare(hostile: Hostile) -> None:
        good = hostile.answers[path]
        hostile.of(path, lambda fields, n: answer if n == 1 else good(fields, n))

    return prepare


DATE = formatdate(time.time() - 60, usegmt=True)


@pytest.mark.parametrize(
    "prepare",
    [
        once(Answer(b"x" * 5000, Content_Length="100000"), "get-artifact"),
        once(Answer(b'{"runs": [', Content_Length="400"), "runs/search"),
        once(Answer(b'{"runs": [', Content_Length=""), "runs/search"),
        once(Answer(b"zz\r\n", Transfer_Encoding="chunked", Content_Length=""), "runs/search"),
        once(Answer(b'{"metrics": [', Content_Length="400"), "metrics/get-history"),
        *(
            once(Answer({}, 503, Retry_After=value), "runs/search")
            for value in (DATE, "-1", "nan", "1e400", "soon", "0")
        ),
    ],
)
def test_what_succeeds_later_is_asked_again(
    imported: Imported, hostile: Hostile, prepare: Callable[[Hostile], None]
) -> None:
    prepare(hostile)
    code, text = imported(hostile.url)
    assert (code, "2 runs, 2 points, 2 files (200,000 bytes)" in text) == (0, True), text


def test_a_server_that_stalls_is_asked_again(
    imported: Imported, hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_api, "TIMEOUT_S", 0.5)

    def slow(_fields: dict[str, Any], number: int) -> Answer:
        time.sleep(1.5 if number == 1 else 0)
        return Answer({"metrics": []})

    hostile.of("metrics/get-history", slow)
    code, text = imported(hostile.url)
    assert (code, "2 runs, 1 point, " in text) == (0, True), text


def runs(*found: Any) -> Answer:
    return Answer({"runs": [*found, run("b" * 32)]})


def histories(**point: Any) -> Answer:
    return Answer({"metrics": [{"key": "loss", "value": 1, "timestamp": 5, "step": 1, **point}]})


def files(*paths: str, is_dir: bool = False) -> Answer:
    return Answer({"files": [{"path": path, "is_dir": is_dir} for path in paths]})


DEEPER = "the listing of 'd' contains it"


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("runs/search", runs({}), "Object missing required field `info`"),
        ("runs/search", runs("abc"), "Expected `object`, got `str`"),
        ("runs/search", runs(run(RUN, start_time="abc")), "at `$.info.start_time`"),
        ("runs/search", runs(run(RUN, start_time=10**30)), "at `$.info.start_time`"),
        ("runs/search", runs(run("../../../../x")), "../../../../x"),
        ("metrics/get-history", histories(value="zzz"), "at `$.metrics[0].value`"),
        ("metrics/get-history", histories(step=2**70), "at `$.metrics[0].step`"),
        ("metrics/get-history", histories(timestamp=2**70), "at `$.metrics[0].timestamp`"),
        ("metrics/get-history", histories(timestamp=-1), "Timestamp must be"),
        ("metrics/get-history", Answer(b"<html>"), "is not JSON"),
        ("metrics/get-history", Answer(b"[" * 100_000), "is not JSON"),
        ("artifacts/list", files("d", is_dir=True), DEEPER),
        ("artifacts/list", files(""), "The entry ''"),
        ("artifacts/list", files("../x"), "Invalid path"),
        (
            "artifacts/list",
            lambda fields, _n: files(f"{fields.get('path', 'd')}/d", is_dir=True),
            "it is deeper than",
        ),
        ("artifacts/list", Answer({"next_page_token": "x"}), "is the same page again"),
    ],
)
def test_a_malformed_answer_concerns_one_run(
    imported: Imported, hostile: Hostile, path: str, answer: Any, message: str
) -> None:
    hostile.of(path, answer)
    for words in (("--dry-run",), ()):
        code, text = imported(hostile.url, *words)
        assert code == 1
        assert "1 experiment, 1 run, 1 point, 1 file (100,000 bytes)" in text
        assert text.count("NOT IMPORTED: run ") == 1
        assert message in text


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("runs/search", Answer({"runs": "abc"}), "experiment 'one': /api/2.0/mlflow/runs/search"),
        ("runs/search", Answer([1]), "experiment 'one': /api/2.0/mlflow/runs/search"),
        (
            "experiments/search",
            Answer({"experiments": [{"experiment_id": "8"}]}),
            "The experiment 8 cannot be imported",
        ),
    ],
)
def test_a_malformed_answer_concerns_one_experiment(
    imported: Imported, hostile: Hostile, path: str, answer: Answer, message: str
) -> None:
    hostile.of(path, answer)
    for words in (("--dry-run",), ()):
        code, text = imported(hostile.url, *words)
        assert (code, "0 runs, 0 points" in text) == (1, True)
        assert "NOT IMPORTED: experiment" in text
        assert message in text


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:abc", "http://[::1", "http://127.0.0.1:99999", "http://", "http://a..b"],
)
def test_an_address_that_is_none_is_refused(imported: Imported, url: str) -> None:
    code, text = imported(url)
    assert (code, "is not the address of a server" in text) == (1, True), text


def test_an_answer_beyond_the_limit_is_not_held_in_memory(
    imported: Imported, hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_api, "MAX_ANSWER_BYTES", 100_000)
    hostile.of(
        "metrics/get-history", lambda _fields, _n: Answer({"metrics": [], "x": "y" * 200_000})
    )
    code, text = imported(hostile.url)
    assert (code, "the server's answer has more than 100,000 bytes" in text) == (1, True), text


def test_a_malformed_page_of_experiments_does_not_lose_the_report(
    imported: Imported, hostile: Hostile
) -> None:
    first = {"experiments": [{"experiment_id": "7", "name": "one"}], "next_page_token": "x"}
    hostile.answers["experiments/search"] = lambda fields, _n: Answer(
        {"experiments": 5} if fields["page_token"] else first
    )
    code, text = imported(hostile.url)
    assert (code, "2 runs, 2 points, 2 files (200,000 bytes)" in text) == (1, True), text
    assert "NOT IMPORTED: all further experiments: " in text
