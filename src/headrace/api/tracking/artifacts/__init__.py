"""Artifacts: the files of runs and models, transferred through this server or directly."""
