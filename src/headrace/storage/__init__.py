"""Artifact bytes: local disk, object stores, and MLflow's own repositories for the rest."""
