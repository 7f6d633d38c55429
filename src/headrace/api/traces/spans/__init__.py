"""Spans of traces, as stored and as OpenTelemetry shows them."""
