"""Server processes: listening, start, supervision, logs, shutdown."""
