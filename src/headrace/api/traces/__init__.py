"""Traces of GenAI applications: traces, their spans, their assessments, and metrics of them."""
