"""Metric histories."""
