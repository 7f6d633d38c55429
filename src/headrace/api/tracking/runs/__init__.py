"""Runs, and what is logged to them."""
