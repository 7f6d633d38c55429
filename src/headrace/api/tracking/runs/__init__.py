"""Runs and the data logged to them."""
