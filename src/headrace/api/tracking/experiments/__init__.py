"""Experiments: the resource that the others imitate."""
