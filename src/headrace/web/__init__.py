"""The web page: MLflow's page from the installed package, or headrace's short one."""
