"""The model registry, logged models and prompts with real clients: the same through headrace and stock's store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.fix_clients import mlflow3
from tests.fix_server import headrace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_clients import Client

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]


def test_models_and_prompts_behave_as_on_stocks_store(
    client: Client, empty_uri: str, tmp_path: Path
) -> None:
    with headrace(empty_uri, tmp_path) as server:
        through_headrace = client.run("models.py", uri=server.url, directory=tmp_path)
    alone = tmp_path / "stock"
    alone.mkdir()
    # mlflow 2.22 shows a part of the data, which must be the same.
    on_stock = mlflow3().run("models.py", uri=f"sqlite:///{alone}/mlflow.db", directory=alone)
    assert through_headrace == {name: on_stock[name] for name in through_headrace}
    assert client.name == "mlflow 2.22" or set(through_headrace) == set(on_stock)
    assert through_headrace["predictions"] == [[2.0, 4.0, 6.0]] * 5
