"""The two flows of CONTRIBUTING.md are those of a real log-batch and a real search on PostgreSQL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.flows import flows

if TYPE_CHECKING:
    import pytest
    from tests.flows import Calls

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
# The limits may only shrink.
MOST_TO_LOG_A_BATCH = 12
MOST_TO_SEARCH = 12


def documented(title: str) -> Calls:
    """The calls that a flow of CONTRIBUTING.md names: a file in backticks, then its functions."""
    section = CONTRIBUTING.read_text().partition(f"\n### {title}\n")[2].partition("\n#")[0]
    calls: Calls = []
    for line in re.findall(r"^\d+\. .*$", section, re.MULTILINE):
        file, *functions = re.findall(r"`([^`]+)`", line.partition(": ")[0])
        calls += [f"{file}: {function}" for function in functions]
    return calls


async def test_the_flows_are_as_documented(
    postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_batch, search = await flows(postgres_uri, monkeypatch)
    assert documented("From the socket to SQL: `POST runs/log-batch`") == log_batch
    assert documented("From the socket to SQL: `POST runs/search`") == search
    assert len(log_batch) <= MOST_TO_LOG_A_BATCH
    assert len(search) <= MOST_TO_SEARCH
