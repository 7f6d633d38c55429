"""Evaluation datasets and their records."""
