"""Make the pictures of the tutorial and of the page about traces: `python -m scripts.pictures`.

Starts a server on an empty database, runs the examples of both pages, and takes pictures of MLflow's
page in Chromium. Needs the dependency group browser, and Chromium.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
ADDRESS: Final = "http://127.0.0.1:5000"
URL: Final = "http://127.0.0.1:5987"
EXAMPLES: Final = ("tutorial.md", "howto/traces.md")
CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
SIZE: Final = {"width": 1400, "height": 660}
SHOWN: Final = {"x": 0, "y": 0, "width": 1040, "height": 660}  # without the panel of the assistant
# Name of the picture, address, and a text that is shown last.
PICTURES: Final = (
    ("tutorial-runs.png", "/#/experiments/1/runs?compareRunsMode=CHART", "loss"),
    ("traces.png", "/#/experiments/2/traces", "Where is the limit?"),
)


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as directory:
        port = URL.rpartition(":")[2]
        command = [sys.executable, "-m", "headrace", "server", "--port", port]
        with subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL) as server:
            try:
                _wait()
                for page in EXAMPLES:
                    _run_examples(page, directory)
                _take_pictures()
            finally:
                server.terminate()


def _wait() -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{URL}/health").close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the server does not answer")


def _run_examples(page: str, directory: str) -> None:
    text = (DOCS / page).read_text()
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        example = [sys.executable, "-c", block.replace(ADDRESS, URL)]
        subprocess.run(example, cwd=directory, check=True)


def _take_pictures() -> None:
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        for name, address, text in PICTURES:
            page = browser.new_page(viewport=SIZE)
            page.goto(URL + address)
            _settle(page, text)
            page.screenshot(path=DOCS / "images" / name, clip=SHOWN)
            page.close()
        browser.close()


def _settle(page: Page, text: str) -> None:
    page.get_by_text(text).first.wait_for(timeout=40_000)
    hint = page.get_by_role("button", name="Got it")  # covers the page until it is pressed
    if hint.is_visible():
        hint.click()
    page.wait_for_timeout(5000)  # the page loads its charts in parts, and animates them


if __name__ == "__main__":
    main()
