"""OTLP: spans as OpenTelemetry's exporters send them, decoded and translated for MLflow's tables. No I/O."""
