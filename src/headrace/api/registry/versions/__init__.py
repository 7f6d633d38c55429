"""Versions of registered models: numbers, stages, tags, and what a source may be."""
