"""Background jobs, which MLflow's job runners carry out: their state, and how they are cancelled."""
