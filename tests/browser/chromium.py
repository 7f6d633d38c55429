"""Chromium without a window. The modules that use it skip themselves without the package playwright."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM: Final = next(filter(None, map(shutil.which, NAMES)), None)
SIZE: Final = {"width": 1500, "height": 950}
# Every page requests the current user; without authentication there is none, as in stock.
EXPECTED: Final = {
    "404: GET /ajax-api/2.0/mlflow/users/current",
    "Failed to load resource: the server responded with a status of 404 (Not Found)",
    # Occasional complaints of the page's charts and tables, with any server.
    "null ResizeObserver loop completed with undelivered notifications.",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs the package playwright (make browser installs it)"
    )
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()
