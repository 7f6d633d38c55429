"""Maintenance of a database: diagnosis and garbage collection."""
