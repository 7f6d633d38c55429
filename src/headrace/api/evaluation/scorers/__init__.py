"""Scorers: judges of the traces of an experiment, in versions."""
