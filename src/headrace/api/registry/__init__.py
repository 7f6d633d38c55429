"""Registered models, their versions, and webhooks."""
