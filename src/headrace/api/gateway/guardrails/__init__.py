"""Guardrails of the AI gateway: scorers that check or change what an endpoint receives or answers."""
