"""Logged models: models written by runs, with their own params, tags and metrics."""
