"""headrace inside the mlflow client: stores for a database and for a server, off until switched on."""
