"""Why stock MLflow answers a route: for `headrace routes`, which lists a reason for each bridged route."""

from __future__ import annotations

from typing import Final

_MODELS: Final = "calls language models, with MLflow's libraries for their providers"
_JOBS: Final = (
    "starts a job: the runners of jobs are MLflow's, and need libraries for language models"
)
_REGISTRY: Final = "rarely called, and not slow"

# By the beginning of the path without its prefix; the first that fits.
_REASONS: Final = (
    ("/runs/create-promptlab-run", _MODELS),
    ("/scorer/invoke", _JOBS),
    ("/genai/evaluate/invoke", _JOBS),
    ("/issues/invoke", _JOBS),
    ("/issues/schedule/", f"{_JOBS}; since MLflow 3.18"),
    ("/prompt-optimization/jobs", _JOBS),
    ("/jobs/", _JOBS),
    ("/gateway-proxy", _MODELS),
    ("/assistant/", "runs programs that write code on the server's machine"),
    ("/demo/", "makes examples, once"),
    ("/mcp-servers", _REGISTRY),
    ("/skills", f"{_REGISTRY}; since MLflow 3.18"),
)


def reason(path: str) -> str:
    """Why the bridged route with this path is not native. Raises LookupError."""
    if path.startswith("/gateway/"):  # a call through the AI gateway
        return _MODELS
    below = path.partition("/mlflow/")[2] or path.split("/", 3)[-1]
    for beginning, why in _REASONS:
        if f"/{below}".startswith(beginning):
            return why
    raise LookupError(f"there is no reason in bridge/reasons.py for {path}")
