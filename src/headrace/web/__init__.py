"""The web page: MLflow's own from the installed package, or a short one of ours."""
