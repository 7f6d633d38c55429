"""Artifacts: the files of runs and models, through this server or beside it."""
