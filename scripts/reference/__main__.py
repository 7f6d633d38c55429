"""Write the generated pages: `python -m scripts.reference`."""

from __future__ import annotations

from pathlib import Path

from scripts.reference import PAGES

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs/reference"

for name, page in PAGES.items():
    (FOLDER / name).write_text(page())
