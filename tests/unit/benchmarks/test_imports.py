"""The environment of developers has no packages of the group `bench`; other tests import this code."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
sys.modules["pyperf"] = None  # an import raises ImportError
import benchmarks.pages
"""


def test_pages_need_no_package_of_benchmarks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
