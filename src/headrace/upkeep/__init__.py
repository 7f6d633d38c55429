"""Maintenance of what is stored: the doctor and the garbage collection."""
