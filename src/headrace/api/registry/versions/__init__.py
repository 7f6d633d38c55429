"""Versions of registered models: numbers, stages, tags and allowed sources."""
