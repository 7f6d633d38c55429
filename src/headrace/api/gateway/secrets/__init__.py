"""Secrets: the encrypted credentials with which the gateway calls providers of models."""
