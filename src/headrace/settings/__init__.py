"""The settings of the server: their table, kinds, loading and validation."""
