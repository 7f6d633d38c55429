"""Webhooks: who is told of what happens in the model registry."""
