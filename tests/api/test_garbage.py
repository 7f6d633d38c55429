"""The objects of a request are freed at once, without the cycle collector."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from tests.fix_auth import ADMIN, ADMIN_PASSWORD, auth_environment, credentials

from headrace.http.app import create_app
from headrace.http.messages import Request
from headrace.settings.load import load

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_request_with_a_password_is_freed_at_once(uri: str, tmp_path: Path) -> None:
    """Its caller and its access refer to it, so a cycle would be left by every request."""
    given = {"backend_store_uri": uri, "app_name": "basic-auth", "artifacts_destination": "/none"}
    app = create_app(load(given, auth_environment(tmp_path, uri)))
    await app.start()

    async def ask() -> int:
        headers = {"host": "localhost", **_lower(credentials(ADMIN, ADMIN_PASSWORD))}
        request = Request("GET", "/api/2.0/mlflow/experiments/get", "experiment_id=0", headers)
        request.give_body(b"")
        app.route(request)
        return (await app.dispatch(request)).status

    try:
        assert await ask() == 200  # the first request verifies the password
        gc.collect()
        gc.disable()
        before = _requests()
        try:
            for _ in range(3):
                assert await ask() == 200
            assert _requests() == before
        finally:
            gc.enable()
    finally:
        await app.stop()


def _requests() -> int:
    """The number of requests in memory, some of which other tests may hold."""
    return sum(isinstance(one, Request) for one in gc.get_objects())


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
