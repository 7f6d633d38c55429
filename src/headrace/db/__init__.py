"""Databases: the interface for handlers (base), its implementations (postgres, sqlite), schema and upkeep."""
