"""Maintenance of a database: schema, diagnosis, garbage collection."""
