"""The number of headrace calls between a client's bytes and SQL. The limits may only shrink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.flows import flows

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

# A separate thread runs the statements on SQLite: Worker.call, Worker._run, Worker._do, the job, run_to_end.
MOST_TO_LOG_A_BATCH = 16
MOST_TO_SEARCH = 15


async def test_a_request_takes_few_calls_to_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_batch, search = await flows(f"sqlite:///{tmp_path}/mlflow.db", monkeypatch)
    assert log_batch[0] == search[0] == "http/connection.py: Connection.data_received"
    assert len(log_batch) <= MOST_TO_LOG_A_BATCH, "\n".join(log_batch)
    assert len(search) <= MOST_TO_SEARCH, "\n".join(search)
