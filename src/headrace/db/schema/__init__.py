"""MLflow's tables: made on an empty database, recognised on any other, never changed.

`postgres.prepare` and `sqlite.prepare` do that on a connection and answer with `facts.Facts`.
Commands for people are in `commands`, known heads in `heads`, what our statements need in `used`.
"""
