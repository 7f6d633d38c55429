"""Webhooks: notifications of events in the model registry."""
