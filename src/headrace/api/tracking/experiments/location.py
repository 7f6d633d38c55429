"""The check of the artifact location of a new experiment."""

from __future__ import annotations

from headrace.contract.artifact_uri import check_location
from headrace.contract.errors import invalid


def check(uri: str, *roots: str) -> str:
    """Return the location to store. Raises INVALID_PARAMETER_VALUE with MLflow's messages."""
    if uri.startswith("runs:"):
        raise invalid(f"Artifact location cannot be a runs:/ URI. Given: '{uri}'")
    return check_location(uri, "artifact_location", *roots)
