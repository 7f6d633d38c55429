"""The endpoint to which OpenTelemetry's exporters send spans."""
