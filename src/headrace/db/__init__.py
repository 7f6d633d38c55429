"""Databases: what a handler may ask of one (base), the two we have (postgres, sqlite), the group commit."""
