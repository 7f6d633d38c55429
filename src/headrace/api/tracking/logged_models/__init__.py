"""Logged models: what a run wrote, with params, tags and metrics of their own."""
