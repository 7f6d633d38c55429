"""Benchmarks of headrace beside its peers, a server that does nothing and the bare database.

`python -m benchmarks --help`; README.md explains what is measured and how.
"""
