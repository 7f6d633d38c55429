"""The facts of MLflow's API: error codes, limits, names, field types. No I/O."""
