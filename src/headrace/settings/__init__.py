"""The settings of the server: one table, loaded from flags and environment, and validated."""
