"""Experiments, runs, metrics, logged models and artifacts."""
