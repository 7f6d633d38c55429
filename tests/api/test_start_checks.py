"""The checks of the server before it serves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

OBJECT = "/api/2.0/mlflow-artifacts/artifacts/x"
NEVER_WRITABLE = "/proc/sys"  # also for root


def test_a_destination_that_is_no_directory_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for destination in (tmp_path / "file", tmp_path / "file/below", f"file://{tmp_path}/file"):
        with (
            pytest.raises(RuntimeError, match=r"file is not a directory. Name another"),
            headrace(
                f"sqlite:///{tmp_path}/m.db",
                tmp_path,
                *("--artifacts-destination", str(destination)),
            ),
        ):
            pass
    assert not (tmp_path / "m.db").exists()


def test_a_destination_without_a_store_stops_the_start(tmp_path: Path) -> None:
    """Each upload would fail. A scheme of MLflow's own repositories starts it."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with (
        pytest.raises(RuntimeError, match=r"no artifact store for the scheme 'foo'"),
        headrace(uri, tmp_path, "--artifacts-destination", "foo://bucket/a"),
    ):
        pass
    with headrace(uri, tmp_path, "--artifacts-destination", "hdfs://host/a") as server:
        assert "upload of an artifact will fail" not in server.log()


def test_a_destination_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """At the start, and in a line of the log for each upload that fails."""
    with (
        headrace(
            f"sqlite:///{tmp_path}/m.db", tmp_path, "--artifacts-destination", NEVER_WRITABLE
        ) as server,
        Wire(server.url) as wire,
    ):
        assert "every upload of an artifact will fail" in server.log()
        assert wire.ask("PUT", OBJECT, b"x").status == 500
        assert "the artifact store refused 'x'" in server.log()


def test_a_destination_without_permission_is_reported(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "closed").mkdir(mode=0o555)
    for name in ("closed", "closed/below"):
        with headrace(
            f"sqlite:///{tmp_path}/m.db", tmp_path, "--artifacts-destination", name
        ) as server:
            assert "every upload of an artifact will fail" in server.log()


def test_a_usable_destination_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for name in ("here", "later/below"):
        with headrace(
            f"sqlite:///{tmp_path}/m.db", tmp_path, "--artifacts-destination", name
        ) as server:
            assert "will fail" not in server.log()
    assert [*(tmp_path / "here").iterdir()] == []
    assert not (tmp_path / "later").exists()


def test_a_second_server_on_one_sqlite_file_is_reported(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/m.db"
    with headrace(uri, tmp_path) as first:
        assert "has" not in first.log().partition("tracking")[0]
        with headrace(uri, tmp_path) as second:
            assert f"process {first.process.pid} (" in second.log()
            assert f"has {tmp_path}/m.db open too" in second.log()
            with Wire(second.url) as wire:
                assert wire.ask("GET", "/health").status == 200
