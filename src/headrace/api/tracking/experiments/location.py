"""The artifact location that a new experiment may have."""

from __future__ import annotations

from headrace.contract.artifact_uri import check_location
from headrace.contract.errors import invalid


def check(uri: str, *roots: str) -> str:
    """The location to store. Raises INVALID_PARAMETER_VALUE in MLflow's words."""
    if uri.startswith("runs:"):
        raise invalid(f"Artifact location cannot be a runs:/ URI. Given: '{uri}'")
    return check_location(uri, "artifact_location", *roots)
