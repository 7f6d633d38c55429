"""Settings of MLflow's AI gateway: secrets, model definitions, endpoints, budgets, guardrails."""
