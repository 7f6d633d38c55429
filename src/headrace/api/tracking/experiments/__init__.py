"""Experiments: the model for the other resource packages."""
