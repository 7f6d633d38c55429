"""Artifact storage: local disk, object stores, and MLflow's own repositories for other schemes."""
