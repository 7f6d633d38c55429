"""Traces: their columns, tags and metadata."""
