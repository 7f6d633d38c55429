"""Evaluation of GenAI applications: datasets."""
