"""What the server counts about itself, and how Prometheus reads it."""
