"""Metrics of the server, and their exposition to Prometheus."""
