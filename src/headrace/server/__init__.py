"""A server process and its life: start, workers, logs, end."""
