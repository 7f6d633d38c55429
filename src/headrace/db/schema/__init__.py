"""MLflow's tables: created in an empty database, checked in any other, never changed.

`postgres.prepare` and `sqlite.prepare` do that on a connection and return `facts.Facts`. The known
heads are in `heads`, the tables and columns that our statements need in `used`.
"""
