"""Assessments of traces: feedback, expectations, references to issues."""
