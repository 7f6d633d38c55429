"""Metrics of traces, spans and assessments."""
