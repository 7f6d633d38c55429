"""Forwards the routes that headrace does not serve itself to stock MLflow, started on demand."""
