"""Measurements for docs/decisions: each file runs by itself and prints its table."""
