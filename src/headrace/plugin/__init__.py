"""headrace in the mlflow client: stores for databases and for servers, disabled by default."""
